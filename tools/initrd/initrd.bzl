"""The initrd of an image: zstd-compressed cpio archives in a row."""

load("@bazel_skylib//rules:common_settings.bzl", "BuildSettingInfo")
load("//tools/apko:apko.bzl", "ImageInfo")
load("//tools/toolroot:toolroot.bzl", "TOOLROOT_ATTRS", "run_in_toolroot")

# How sqfstar compresses an image. Blocks are as large as they can be.
# For fragments, which the ends of files would share, the kernel has 3 MiB of buffers.
_SQUASHFS = {
    "xz": "-comp xz -Xbcj x86 -Xdict-size 100% -b 1M -no-fragments",
    "zstd": "-comp zstd -Xcompression-level 22 -b 1M -no-fragments",
}

def _compress(ctx, archive):
    """Compresses an archive into one zstd frame with a window of 32 MiB and a checksum."""
    out = ctx.actions.declare_file(archive.basename + ".zst")
    if ctx.attr._compressor[BuildSettingInfo].value == "klauspost":
        ctx.actions.run(
            executable = ctx.executable._initrd,
            arguments = ["compress", "--out", out.path, archive.path],
            inputs = [archive],
            outputs = [out],
            mnemonic = "CpioCompress",
            progress_message = "Compressing %{output}",
        )
    else:
        run_in_toolroot(
            ctx,
            root = ctx.file._toolroot,
            inputs = {archive: "/archive"},
            outputs = [out],
            script = 'zstd -q -19 --long=25 --single-thread --check -o "/out/$1" /archive',
            arguments = [out.basename],
            mnemonic = "CpioCompress",
            progress_message = "Compressing %{output}",
        )
    return out

def _squashfs(ctx, layout, compression, packages):
    """Makes the image of the large files of some packages."""
    archive = ctx.actions.declare_file("{}.{}.tar".format(ctx.label.name, compression))
    out = ctx.actions.declare_file("{}.{}.squashfs".format(ctx.label.name, compression))
    ctx.actions.run(
        executable = ctx.executable._initrd,
        arguments = ["pack", "--layout", layout.path, "--image", compression + "=" + ",".join(packages), "--out", archive.path],
        inputs = [layout],
        outputs = [archive],
        mnemonic = "Pack",
        progress_message = "Packing large files of %{label}",
    )
    run_in_toolroot(
        ctx,
        root = ctx.file._toolroot,
        inputs = {archive: "/archive"},
        outputs = [out],
        script = 'sqfstar -quiet -no-progress {} "/out/$1" </archive >/dev/null'.format(_SQUASHFS[compression]),
        arguments = [out.basename],
        cpus = 2,
        mnemonic = "Squashfs",
        progress_message = "Compressing %{output}",
    )
    return out

def _initrd_impl(ctx):
    tool = ctx.executable._initrd
    layout = ctx.attr.image[ImageInfo].layout
    first, rest = [ctx.actions.declare_file("{}.{}.cpio".format(ctx.label.name, part)) for part in ["first", "rest"]]
    arguments = ["build", "--layout", layout.path, "--first", ",".join(ctx.attr.first) + "=" + first.path, "--rest", rest.path]
    inputs, packed = [layout], []
    if ctx.attr.packed:
        packed = [ctx.actions.declare_file(ctx.label.name + ".packed.cpio")]
        arguments += ["--packed", packed[0].path]
    for compression, packages in ctx.attr.packed.items():
        squashfs = _squashfs(ctx, layout, compression, packages)
        inputs.append(squashfs)
        arguments += ["--image", compression + "=" + ",".join(packages), "--squashfs", squashfs.path]
    ctx.actions.run(
        executable = tool,
        arguments = arguments,
        inputs = inputs,
        outputs = [first, rest] + packed,
        mnemonic = "Cpio",
        progress_message = "Converting %{label}",
    )
    compressed = [_compress(ctx, archive) for archive in [first, rest]] + packed
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
        "packed": attr.string_list_dict(doc = "Packages whose large files stay compressed in memory, by how: \"zstd\", or \"xz\", which is smaller and slower. init mounts them, and the root has links to them."),
        "_compressor": attr.label(default = "//tools/initrd:compressor"),
        "_initrd": attr.label(default = "//tools/initrd/cmd/initrd", cfg = "exec", executable = True),
        "_toolroot": attr.label(default = "@compiler_root//:ROOT", allow_single_file = True),
    } | TOOLROOT_ATTRS,
)
