"""The one rule of package_metadata that gazelle's repositories use: a purl beside a package."""

load("//providers:package_metadata_info.bzl", "PackageMetadataInfo")

def _package_metadata_impl(ctx):
    out = ctx.actions.declare_file(ctx.label.name + ".package-metadata.json")
    ctx.actions.write(out, json.encode({"attributes": {}, "label": str(ctx.label), "purl": ctx.attr.purl}))
    return [DefaultInfo(files = depset([out])), PackageMetadataInfo(metadata = out, files = depset([out]))]

_package_metadata = rule(
    implementation = _package_metadata_impl,
    attrs = {"purl": attr.string(mandatory = True)},
    provides = [PackageMetadataInfo],
)

def package_metadata(name, purl, visibility = None, tags = None, **_kwargs):
    # Without applicable_licenses = [] the package's own default would make this depend on itself.
    _package_metadata(name = name, purl = purl, visibility = visibility, tags = tags, applicable_licenses = [])
