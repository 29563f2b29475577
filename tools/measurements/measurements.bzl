"""What machines will measure that boot a build."""

load("@bazel_skylib//rules:common_settings.bzl", "BuildSettingInfo")

def _measurements_impl(ctx):
    out = ctx.actions.declare_file(ctx.label.name + ".json")
    files = {"--kernel": ctx.file.kernel, "--initrd": ctx.file.initrd, "--uki": ctx.file.uki}
    arguments = [
        "--version=" + ctx.attr.version,
        "--cmdline=" + ctx.attr.cmdline[BuildSettingInfo].value,
        "--kernel-name=" + ctx.attr.kernel_name,
        "--initrd-name=" + ctx.attr.initrd_name,
        "--out=" + out.path,
    ]
    for flag, file in files.items():
        arguments.append("{}={}".format(flag, file.path))
    ctx.actions.run(
        executable = ctx.executable._measurements,
        arguments = arguments + [f.path for f in ctx.files.loaders],
        inputs = files.values() + ctx.files.loaders,
        outputs = [out],
        mnemonic = "Measurements",
    )
    return [DefaultInfo(files = depset([out]))]

measurements = rule(
    implementation = _measurements_impl,
    doc = """What the TPMs of machines record that boot a build under UEFI, as JSON for policies of attestd.""",
    attrs = {
        "cmdline": attr.label(mandatory = True, providers = [BuildSettingInfo], doc = "The kernel command line where no boot server has another: a string_flag or string_setting."),
        "initrd": attr.label(mandatory = True, allow_single_file = True, doc = "The initrd."),
        "initrd_name": attr.string(default = "initramfs-x86_64", doc = "Its name in the script of `ipxe`."),
        "kernel": attr.label(mandatory = True, allow_single_file = True, doc = "The kernel."),
        "kernel_name": attr.string(default = "vmlinuz-x86_64", doc = "Its name there."),
        "loaders": attr.label(default = "//tools/measurements:loaders", allow_files = True, doc = "UEFI programs that may run before, such as the iPXE that machines are given."),
        "uki": attr.label(mandatory = True, allow_single_file = True, doc = "The unified kernel image, signed or not."),
        "version": attr.string(mandatory = True, doc = "The version of the build."),
        "_measurements": attr.label(default = "//tools/measurements/cmd/measurements", cfg = "exec", executable = True),
    },
)
