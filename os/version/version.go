// Package version names this build of Ember.
package version

// Version is set by the linker (-X); a build that does not set it is "devel".
var Version = "devel"
