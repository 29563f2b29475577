"""Packages made of Debian packages."""

load("@debian_packages//:versions.bzl", "VERSIONS")
load("//tools/apk:apk.bzl", "apk_package")

def _apk_version(debian_version):
    """Debian's [epoch:]upstream[-revision] as apk compares it: upstream's numbers and -r<revision>.

    What Debian adds after a number (+b9, ~deb13u1) has no counterpart and is left to the
    description.
    """
    version = debian_version.split(":")[-1]
    upstream, _, revision = version.rpartition("-") if "-" in version else (version, "", "0")
    return "{}-r{}".format(_numbers(upstream), _numbers(revision))

def _numbers(text):
    for i, c in enumerate(text.elems()):
        if not c.isdigit() and c != ".":
            return text[:i].rstrip(".")
    return text

def debian_apk_package(name, debian, description, **kwargs):
    """An apk_package whose version is that of the Debian package it takes its files from.

    Args:
      name: name of the package and the rule.
      debian: the Debian package, which image/debian.lock has.
      description: one line, to which the Debian version is added.
      **kwargs: more attributes of apk_package.
    """
    apk_package(
        name = name,
        description = "{} (Debian {} {})".format(description, debian, VERSIONS[debian]),
        version = _apk_version(VERSIONS[debian]),
        **kwargs
    )
