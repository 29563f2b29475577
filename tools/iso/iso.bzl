"""ISO images that boot on BIOS and UEFI."""

load("@bazel_skylib//rules:common_settings.bzl", "BuildSettingInfo")
load("//tools/toolroot:toolroot.bzl", "TOOLROOT_ATTRS", "run_in_toolroot")

def _iso_impl(ctx):
    config = ctx.actions.declare_file(ctx.label.name + ".grub.cfg")
    ctx.actions.run(
        executable = ctx.executable._iso,
        arguments = ["--cmdline", ctx.attr.cmdline[BuildSettingInfo].value, "--out", config.path],
        outputs = [config],
        mnemonic = "GrubConfig",
    )
    out = ctx.actions.declare_file(ctx.label.name + ".iso")
    run_in_toolroot(
        ctx,
        root = ctx.file._toolroot,
        inputs = {
            ctx.file.kernel: "/kernel",
            ctx.file.initrd: "/initrd",
            config: "/grub.cfg",
            ctx.file._make: "/make.sh",
        },
        outputs = [out],
        script = ". /make.sh",
        arguments = ["/kernel", "/initrd", "/grub.cfg", "/out/" + out.basename],
        mnemonic = "Iso",
        progress_message = "Making %{label}",
    )
    return [DefaultInfo(files = depset([out]))]

iso = rule(
    implementation = _iso_impl,
    doc = """An ISO image that boots on BIOS and UEFI, as optical or virtual medium or from a USB stick.

Its grub.cfg holds the string in whose place Tinkerbell's server puts kernel parameters. With Secure
Boot it does not start: what is written in flight cannot be signed.""",
    attrs = {
        "cmdline": attr.label(mandatory = True, providers = [BuildSettingInfo], doc = "The kernel command line in front of the server's: a string_flag or string_setting."),
        "initrd": attr.label(mandatory = True, allow_single_file = True, doc = "The initrd."),
        "kernel": attr.label(mandatory = True, allow_single_file = True, doc = "The kernel."),
        "_iso": attr.label(default = "//tools/iso/cmd/iso", cfg = "exec", executable = True),
        "_make": attr.label(default = "//tools/iso:make.sh", allow_single_file = True),
        "_toolroot": attr.label(default = "@boot_root//:ROOT", allow_single_file = True),
    } | TOOLROOT_ATTRS,
)
