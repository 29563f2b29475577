"""The SPDX document of an image: its packages, the kernel, and the Go modules of our program."""

load("@rules_go//go:def.bzl", "GoArchive")
load("//tools/apko:apko.bzl", "ImageInfo")

def _image_sbom_impl(ctx):
    archive = ctx.attr.program[GoArchive]
    imports = ctx.actions.declare_file(ctx.label.name + ".imports")
    lines = ctx.actions.args().add_all(archive.transitive, map_each = _importpath, uniquify = True)
    lines.set_param_file_format("multiline")
    ctx.actions.write(imports, lines)
    image = ctx.attr.image[ImageInfo]
    out = ctx.actions.declare_file(ctx.label.name + ".spdx.json")
    ctx.actions.run(
        executable = ctx.executable._sbom,
        arguments = [
            "build",
            "--spdx=" + image.sbom.path,
            "--layout=" + image.layout.path,
            "--distribution=ember",
            "--program=" + ctx.attr.package,
            "--imports=" + imports.path,
            "--go-mod=" + ctx.file.go_mod.path,
            "--go-sum=" + ctx.file.go_sum.path,
            "--go-version=" + ctx.toolchains["@rules_go//go:toolchain"].sdk.version,
            "--licences=" + ctx.file._licences.path,
            "--out=" + out.path,
        ] + ["--component=" + f.path for f in ctx.files.components],
        inputs = [image.sbom, image.layout, imports, ctx.file.go_mod, ctx.file.go_sum, ctx.file._licences] + ctx.files.components,
        outputs = [out],
        mnemonic = "Sbom",
    )
    return [DefaultInfo(files = depset([out]))]

def _importpath(data):
    return data.importpath

image_sbom = rule(
    implementation = _image_sbom_impl,
    doc = "An image's SPDX 2.3 document. It fails on a Go module whose licence is not in //tools/sbom:licences.txt.",
    attrs = {
        "components": attr.label_list(allow_files = [".json"], doc = "What is beside the image, such as the kernel: Component of //tools/sbom."),
        "go_mod": attr.label(mandatory = True, allow_single_file = True, doc = "go.mod, which names the modules."),
        "go_sum": attr.label(mandatory = True, allow_single_file = True, doc = "go.sum, which has their hashes."),
        "image": attr.label(mandatory = True, providers = [ImageInfo], doc = "The image, from apko_image."),
        "package": attr.string(mandatory = True, doc = "The package that holds the program."),
        "program": attr.label(mandatory = True, providers = [GoArchive], doc = "The Go program whose modules are listed."),
        "_licences": attr.label(default = "//tools/sbom:licences.txt", allow_single_file = True),
        "_sbom": attr.label(default = "//tools/sbom/cmd/sbom", cfg = "exec", executable = True),
    },
    toolchains = ["@rules_go//go:toolchain"],
)
