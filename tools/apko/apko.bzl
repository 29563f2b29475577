"""The OCI image, composed by apko from a repository of packages."""

load("//tools/apk:apk.bzl", "ApkRepositoryInfo")

ImageInfo = provider(
    doc = "An image.",
    fields = {
        "layout": "The OCI image layout, a directory File.",
        "sbom": "apko's SPDX document of the image, a File.",
    },
)

def _apko_image_impl(ctx):
    repository = ctx.attr.repository[ApkRepositoryInfo]
    layout = ctx.actions.declare_directory(ctx.label.name + "/layout")
    sbom = ctx.actions.declare_file(ctx.label.name + "/sbom-x86_64.spdx.json")
    sbom_index = ctx.actions.declare_file(ctx.label.name + "/sbom-index.spdx.json")
    ctx.actions.run(
        executable = ctx.executable._apko,
        arguments = [
            "build",
            ctx.file.config.path,
            "ember:latest",
            layout.path,
            "--arch=x86_64",
            "--keyring-append=" + repository.public_key.path,
            "--repository-append=" + repository.index.dirname.removesuffix("/x86_64"),
            "--sbom-path=" + sbom.dirname,
            "--vcs=false",
            "--log-level=warn",
        ],
        inputs = depset([ctx.file.config], transitive = [ctx.attr.repository[DefaultInfo].files]),
        outputs = [layout, sbom, sbom_index],
        env = {"HOME": "/tmp", "SOURCE_DATE_EPOCH": "0"},
        mnemonic = "Apko",
        progress_message = "Composing %{label}",
    )
    return [
        DefaultInfo(files = depset([layout])),
        ImageInfo(layout = layout, sbom = sbom),
    ]

apko_image = rule(
    implementation = _apko_image_impl,
    doc = "An OCI image layout of what an apko configuration names.",
    attrs = {
        "config": attr.label(mandatory = True, allow_single_file = [".yaml"], doc = "apko's configuration."),
        "repository": attr.label(mandatory = True, providers = [ApkRepositoryInfo], doc = "Where its packages come from."),
        "_apko": attr.label(default = "//tools/apko", cfg = "exec", executable = True),
    },
)
