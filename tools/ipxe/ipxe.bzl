"""What iPXE boots from: a folder to be served as it is."""

load("@bazel_skylib//rules:common_settings.bzl", "BuildSettingInfo")

def _check(cmdline):
    """Fails on a command line in which iPXE would see more than words."""
    words = cmdline.replace("\n", " ; ").split(" ")
    if "${" in cmdline or [w for w in words if w in ["||", "&&", ";"] or w.startswith("#")]:
        fail("the command line {} has something that means something to iPXE: a line break, ${{, or a word that is ||, && or ; or begins with #".format(repr(cmdline)))

def _ipxe_impl(ctx):
    cmdline = ctx.attr.cmdline[BuildSettingInfo].value
    _check(cmdline)
    outs = []
    for source, name in [(ctx.file.kernel, ctx.attr.kernel_name), (ctx.file.initrd, ctx.attr.initrd_name)]:
        out = ctx.actions.declare_file("{}/{}".format(ctx.label.name, name))
        ctx.actions.symlink(output = out, target_file = source)
        outs.append(out)
    script = ctx.actions.declare_file(ctx.label.name + "/boot.ipxe")
    ctx.actions.expand_template(
        template = ctx.file._template,
        output = script,
        substitutions = {
            "{CMDLINE}": cmdline,
            "{INITRD}": ctx.attr.initrd_name,
            "{KERNEL}": ctx.attr.kernel_name,
        },
    )
    return [
        DefaultInfo(files = depset(outs + [script])),
        OutputGroupInfo(script = depset([script])),
    ]

ipxe = rule(
    implementation = _ipxe_impl,
    doc = """A folder with an iPXE script, boot.ipxe, and the kernel and initrd that it loads from beside itself.

Where it cannot load them the script ends with status 1, with which firmware goes on to the next boot
entry, such as the machine's disk. The output group `script` holds the script alone.""",
    attrs = {
        "cmdline": attr.label(mandatory = True, providers = [BuildSettingInfo], doc = "The kernel command line: a string_flag or string_setting."),
        "initrd": attr.label(mandatory = True, allow_single_file = True, doc = "The initrd."),
        "initrd_name": attr.string(default = "initramfs-x86_64", doc = "Its name in the folder."),
        "kernel": attr.label(mandatory = True, allow_single_file = True, doc = "The kernel."),
        "kernel_name": attr.string(default = "vmlinuz-x86_64", doc = "Its name in the folder."),
        "_template": attr.label(default = "//tools/ipxe:boot.ipxe", allow_single_file = True),
    },
)
