"""The initrd of an image: zstd-compressed cpio archives in a row."""

load("//tools/apko:apko.bzl", "ImageInfo")

def _initrd_impl(ctx):
    tool = ctx.executable._initrd
    layout = ctx.attr.image[ImageInfo].layout
    first, rest = [ctx.actions.declare_file("{}.{}.cpio".format(ctx.label.name, part)) for part in ["first", "rest"]]
    ctx.actions.run(
        executable = tool,
        arguments = ["build", "--layout", layout.path, "--first", ",".join(ctx.attr.first) + "=" + first.path, "--rest", rest.path],
        inputs = [layout],
        outputs = [first, rest],
        mnemonic = "Cpio",
        progress_message = "Converting %{label}",
    )
    compressed = []
    for archive in [first, rest]:
        out = ctx.actions.declare_file(archive.basename + ".zst")
        ctx.actions.run(
            executable = tool,
            arguments = ["compress", "--out", out.path, archive.path],
            inputs = [archive],
            outputs = [out],
            mnemonic = "CpioCompress",
            progress_message = "Compressing %{output}",
        )
        compressed.append(out)
    out = ctx.actions.declare_file(ctx.label.name + ".img")
    ctx.actions.run(
        executable = tool,
        arguments = ["join", "--out", out.path] + [f.path for f in compressed],
        inputs = compressed,
        outputs = [out],
        mnemonic = "Initrd",
    )
    return [DefaultInfo(files = depset([out]))]

initrd = rule(
    implementation = _initrd_impl,
    doc = """The initrd that holds what an image holds.

What changes often is an archive of its own, so that a change of it does not compress the rest
again. It comes first, so that an initrd which is cut off still starts, and says so.""",
    attrs = {
        "first": attr.string_list(mandatory = True, doc = "Packages whose files, with /init and the manifest, are the first archive."),
        "image": attr.label(mandatory = True, providers = [ImageInfo], doc = "The image, from apko_image."),
        "_initrd": attr.label(default = "//tools/initrd/cmd/initrd", cfg = "exec", executable = True),
    },
)
