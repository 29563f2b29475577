"""Unified kernel images, signed for Secure Boot where keys are given."""

load("@bazel_skylib//rules:common_settings.bzl", "BuildSettingInfo")
load("//tools/toolroot:toolroot.bzl", "TOOLROOT_ATTRS", "run_in_toolroot")

def _sign(ctx, image):
    """Signs an image. The key is not sent to other machines."""
    out = ctx.actions.declare_file(ctx.label.name + ".efi")
    run_in_toolroot(
        ctx,
        root = ctx.file._toolroot,
        inputs = {
            image: "/image",
            ctx.files.key[0]: "/key",
            ctx.files.certificate[0]: "/certificate",
            ctx.file._sign: "/sign.sh",
        },
        outputs = [out],
        script = ". /sign.sh",
        arguments = ["/image", "/key", "/certificate", "/out/" + out.basename],
        mnemonic = "UkiSign",
        progress_message = "Signing %{output}",
        execution_requirements = {"no-remote": "1"},
    )
    return out

def _uki_impl(ctx):
    if len(ctx.files.key) != len(ctx.files.certificate) or len(ctx.files.key) > 1:
        fail("signing {} needs one key and one certificate: give both --//tools/uki:key and --//tools/uki:certificate, or neither".format(ctx.label))
    stub = ctx.actions.declare_file(ctx.label.name + ".stub")
    run_in_toolroot(
        ctx,
        root = ctx.file._toolroot,
        outputs = [stub],
        script = 'cp /usr/lib/systemd/boot/efi/linuxx64.efi.stub "/out/$1"',
        arguments = [stub.basename],
        mnemonic = "UkiStub",
    )
    release = ctx.attr.kernel[OutputGroupInfo].release.to_list()[0]
    unsigned = ctx.actions.declare_file(ctx.label.name + ".unsigned.efi")
    files = {"--stub": stub, "--kernel": ctx.file.kernel, "--initrd": ctx.file.initrd, "--os-release": ctx.file.os_release, "--release": release}
    arguments = ["build", "--cmdline", ctx.attr.cmdline[BuildSettingInfo].value, "--out", unsigned.path]
    for flag, file in files.items():
        arguments += [flag, file.path]
    ctx.actions.run(
        executable = ctx.executable._uki,
        arguments = arguments,
        inputs = files.values(),
        outputs = [unsigned],
        mnemonic = "Uki",
        progress_message = "Making %{label}",
    )
    if ctx.files.key:
        out = _sign(ctx, unsigned)
    else:
        out = ctx.actions.declare_file(ctx.label.name + ".efi")
        ctx.actions.symlink(output = out, target_file = unsigned)
    return [
        DefaultInfo(files = depset([out])),
        OutputGroupInfo(unsigned = depset([unsigned])),
    ]

uki = rule(
    implementation = _uki_impl,
    doc = """A unified kernel image: one UEFI program with kernel, initrd and command line.

It is signed for Secure Boot if there are a key and a certificate. The output group `unsigned` holds
it without a signature, for those whose key does not leave its device.""",
    attrs = {
        "certificate": attr.label(default = "//tools/uki:certificate", allow_files = True, doc = "The certificate of the key, PEM."),
        "cmdline": attr.label(mandatory = True, providers = [BuildSettingInfo], doc = "The kernel command line: a string_flag or string_setting. With Secure Boot it is the only one."),
        "initrd": attr.label(mandatory = True, allow_single_file = True, doc = "The initrd."),
        "kernel": attr.label(mandatory = True, allow_single_file = True, doc = "The kernel, from kernel_image."),
        "key": attr.label(default = "//tools/uki:key", allow_files = True, doc = "An RSA private key, PEM, that signs for Secure Boot."),
        "os_release": attr.label(mandatory = True, allow_single_file = True, doc = "The os-release file, which boot menus show."),
        "_sign": attr.label(default = "//tools/uki:sign.sh", allow_single_file = True),
        "_toolroot": attr.label(default = "@boot_root//:ROOT", allow_single_file = True),
        "_uki": attr.label(default = "//tools/uki/cmd/uki", cfg = "exec", executable = True),
    } | TOOLROOT_ATTRS,
)
