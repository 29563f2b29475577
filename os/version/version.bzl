"""The version of Ember."""

VERSION = "0.1.0"
