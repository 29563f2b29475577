"""The version of Ember, in one place."""

VERSION = "0.1.0"
