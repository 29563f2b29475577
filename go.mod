module github.com/ember-os/ember

go 1.26
