"""The OCI image, composed by apko from repositories of packages, and the lock of what it holds."""

load("@rules_go//go:def.bzl", "go_binary")
load("//tools/apk:apk.bzl", "ApkRepositoryInfo")

ImageInfo = provider(
    doc = "An image.",
    fields = {
        "layout": "The OCI image layout, a directory File.",
        "lock": "The lock of its packages, a File.",
        "sbom": "apko's SPDX document of the image, a File.",
    },
)

def _apko_image_impl(ctx):
    config = ctx.actions.declare_file(ctx.label.name + ".apko.yaml")
    ctx.actions.run(
        executable = ctx.executable._lock,
        arguments = [
            "offline",
            "--config=" + ctx.file.config.path,
            "--lock=" + ctx.file.lock.path,
            "--out=" + config.path,
        ],
        inputs = [ctx.file.config, ctx.file.lock],
        outputs = [config],
        mnemonic = "ApkoConfig",
    )
    layout = ctx.actions.declare_directory(ctx.label.name + "/layout")
    sbom = ctx.actions.declare_file(ctx.label.name + "/sbom-x86_64.spdx.json")
    sbom_index = ctx.actions.declare_file(ctx.label.name + "/sbom-index.spdx.json")

    # apko writes the names of repositories and keys into the image: they get some that do not
    # depend on where Bazel has the files.
    links, flags = [], []
    for r in ctx.attr.repositories:
        info = r[ApkRepositoryInfo]
        links += [info.index.dirname.removesuffix("/x86_64"), r.label.name, info.public_key.path, info.public_key.basename]
        flags += ["--repository-append=" + r.label.name, "--keyring-append=" + info.public_key.basename]
    ctx.actions.run_shell(
        command = """set -eu
            apko=$1; shift
            while [ "$1" != build ]; do ln -sfn "$1" "$2"; shift 2; done
            exec "$apko" "$@"
        """,
        arguments = [ctx.executable._apko.path] + links + [
            "build",
            config.path,
            "ember:latest",
            layout.path,
            "--arch=x86_64",
            "--sbom-path=" + sbom.dirname,
            "--vcs=false",
            "--log-level=warn",
        ] + {flag: None for flag in flags}.keys(),
        inputs = depset([config], transitive = [r[DefaultInfo].files for r in ctx.attr.repositories]),
        outputs = [layout, sbom, sbom_index],
        tools = [ctx.executable._apko],
        env = {"HOME": "/tmp", "SOURCE_DATE_EPOCH": "0"},
        mnemonic = "Apko",
        progress_message = "Composing %{label}",
    )
    return [
        DefaultInfo(files = depset([layout])),
        ImageInfo(layout = layout, lock = ctx.file.lock, sbom = sbom),
    ]

apko_image = rule(
    implementation = _apko_image_impl,
    doc = """An OCI image layout of what an apko configuration names.

It is composed from the repositories given here alone: the ones that the configuration names are
for apko_lock. The build fails if the configuration asks for other packages than the lock does.""",
    attrs = {
        "config": attr.label(mandatory = True, allow_single_file = [".yaml"], doc = "apko's configuration. Its `include` is not supported."),
        "lock": attr.label(mandatory = True, allow_single_file = [".json"], doc = "The lock of the configuration, from apko_lock."),
        "repositories": attr.label_list(mandatory = True, providers = [ApkRepositoryInfo], doc = "Where its packages come from: apk_repository."),
        "_apko": attr.label(default = "//tools/apko", cfg = "exec", executable = True),
        "_lock": attr.label(default = "//tools/apko/cmd/lock", cfg = "exec", executable = True),
    },
)

def apko_lock(name, config, lock, repository):
    """A program for `bazel run` that pins an image's packages and shows what changed.

    It asks the public repositories that the configuration names, if any, and writes the lock.

    Args:
      name: name of the target.
      config: apko's configuration, a file in the workspace.
      lock: the file that it writes.
      repository: apk_repository of our own packages; not one of packages fetched by this lock.
    """
    paths = {f: native.package_relative_label(f) for f in [config, lock]}
    go_binary(
        name = name,
        args = [
            "renew",
            "--apko=$(rlocationpath //tools/apko)",
            "--config={}/{}".format(paths[config].package, paths[config].name),
            "--lock={}/{}".format(paths[lock].package, paths[lock].name),
            "$(rlocationpaths {})".format(repository),
        ],
        data = ["//tools/apko", repository],
        embed = ["//tools/apko/cmd/lock:lock_lib"],
    )
