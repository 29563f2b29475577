"""Packages of public APK repositories, fetched as an image's lock says."""

def _apko_packages_impl(ctx):
    packages = [p for p in json.decode(ctx.read(ctx.attr.lock))["contents"]["packages"] if "url" in p]
    pending = []
    for p in packages:
        if len(p.get("sha256", "")) != 64:
            fail("{}: package {} has no sha256: write it by `bazel run //image:lock`".format(ctx.attr.lock, p["name"]))
        pending.append(ctx.download(
            url = p["url"],
            output = "{}-{}.apk".format(p["name"], p["version"]),
            sha256 = p["sha256"],
            allow_fail = True,
            block = False,
        ))
    missing = [p["url"] for p, download in zip(packages, pending) if not download.wait().success]
    if missing:
        fail("These have left their repository, or have other bytes than {} says. `bazel run //image:lock` takes what its signed index names now:\n{}".format(ctx.attr.lock, "\n".join(missing)))
    ctx.file("BUILD.bazel", """filegroup(
    name = "packages",
    srcs = glob(["*.apk"], allow_empty = True),
    visibility = ["//visibility:public"],
)
""")
    return ctx.repo_metadata(reproducible = True) if hasattr(ctx, "repo_metadata") else None

_apko_packages = repository_rule(
    implementation = _apko_packages_impl,
    attrs = {"lock": attr.label(mandatory = True, allow_single_file = True, doc = "The lock, from apko_lock.")},
    doc = "The packages of a lock that have an address, as <name>-<version>.apk; the target packages has them all.",
)

def _apko_impl(ctx):
    for module in ctx.modules:
        for tag in module.tags.packages:
            _apko_packages(name = tag.name, lock = tag.lock)
    return ctx.extension_metadata(reproducible = True)

apko = module_extension(
    implementation = _apko_impl,
    tag_classes = {
        "packages": tag_class(attrs = {
            "lock": attr.label(mandatory = True, doc = "The lock, made by `bazel run //image:lock`."),
            "name": attr.string(mandatory = True, doc = "Name of the repository."),
        }),
    },
)
