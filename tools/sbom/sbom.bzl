"""The SPDX document of an image: its packages, the kernel, and the Go modules of its programs."""

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
    repeated = ["--component=" + f.path for f in ctx.files.components]
    repeated += ["--go-sum=" + f.path for f in ctx.files.go_sums]
    inputs = ctx.files.components + ctx.files.go_sums
    if ctx.attr.debian:
        repeated.append("--debian-lock=" + ctx.file.debian_lock.path)
        repeated += ["--debian={}={}".format(name, licence) for name, licence in ctx.attr.debian.items()]
        inputs.append(ctx.file.debian_lock)
    repeated += ["--public={}={}".format(address, name) for address, name in ctx.attr.distributions.items()]
    ctx.actions.run(
        executable = ctx.executable._sbom,
        arguments = [
            "build",
            "--spdx=" + image.sbom.path,
            "--layout=" + image.layout.path,
            "--lock=" + image.lock.path,
            "--distribution=ember",
            "--program=" + ctx.attr.package,
            "--imports=" + imports.path,
            "--go-mod=" + ctx.file.go_mod.path,
            "--go-version=" + ctx.toolchains["@rules_go//go:toolchain"].sdk.version,
            "--licences=" + ctx.file._licences.path,
            "--out=" + out.path,
        ] + repeated,
        inputs = [image.sbom, image.layout, image.lock, imports, ctx.file.go_mod, ctx.file._licences] + inputs,
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
        "debian": attr.string_dict(doc = "Debian packages of which parts are delivered beside the image, such as boot loaders: the name, and the licence of these parts."),
        "debian_lock": attr.label(allow_single_file = [".lock"], doc = "The lock that has these packages."),
        "distributions": attr.string_dict(doc = "How the address of a public repository begins: the distribution that package URLs name for its packages."),
        "go_mod": attr.label(mandatory = True, allow_single_file = True, doc = "go.mod, which names the program's modules."),
        "go_sums": attr.label_list(mandatory = True, allow_files = [".sum"], doc = "go.sum of every Go program in the image, which have the hashes of their modules."),
        "image": attr.label(mandatory = True, providers = [ImageInfo], doc = "The image, from apko_image."),
        "package": attr.string(mandatory = True, doc = "The package that holds the program."),
        "program": attr.label(mandatory = True, providers = [GoArchive], doc = "The Go program that Bazel links, and that does not say itself of which modules it is."),
        "_licences": attr.label(default = "//tools/sbom:licences.txt", allow_single_file = True),
        "_sbom": attr.label(default = "//tools/sbom/cmd/sbom", cfg = "exec", executable = True),
    },
    toolchains = ["@rules_go//go:toolchain"],
)
