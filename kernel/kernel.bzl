"""Rules that configure and compile the kernel inside the compiler root."""

load("//tools/toolroot:toolroot.bzl", "TOOLROOT_ATTRS", "run_in_toolroot")

# What the build would otherwise take from the clock, the user and the host.
_REPRODUCIBLE = """
export KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC' KBUILD_BUILD_VERSION=1 KBUILD_BUILD_USER=ember KBUILD_BUILD_HOST=ember
"""

_ATTRS = {
    "compiler": attr.label(default = "@compiler_root//:ROOT", allow_single_file = True, doc = "Marker of the tool root with the compiler."),
    "source": attr.label(default = "@linux_source//:SOURCE", allow_single_file = True, doc = "Marker of the kernel's source."),
} | TOOLROOT_ATTRS

def _kernel_config_impl(ctx):
    out = ctx.actions.declare_file(ctx.label.name + "/config")
    run_in_toolroot(
        ctx,
        root = ctx.file.compiler,
        sources = {ctx.file.source: "/src"},
        inputs = {ctx.file.fragment: "/fragment"},
        outputs = [out],
        script = """
            make -s -C /src O=/scratch KCONFIG_ALLCONFIG=/fragment allnoconfig >log 2>&1 || { cat log >&2; exit 1; }
            cp .config /out/config
        """,
        mnemonic = "KernelConfig",
        progress_message = "Configuring the kernel",
    )
    return [DefaultInfo(files = depset([out]))]

kernel_config = rule(
    implementation = _kernel_config_impl,
    attrs = _ATTRS | {
        "fragment": attr.label(mandatory = True, allow_single_file = True, doc = "What is asked for; everything else is off."),
    },
    doc = "The resolved configuration: allnoconfig plus what a merged fragment asks for.",
)

def _kernel_image_impl(ctx):
    image = ctx.actions.declare_file(ctx.label.name + "/bzImage")
    release = ctx.actions.declare_file(ctx.label.name + "/release")
    run_in_toolroot(
        ctx,
        root = ctx.file.compiler,
        sources = {ctx.file.source: "/src"},
        inputs = {ctx.file.config: "/config"},
        outputs = [image, release],
        cpus = 2,
        script = _REPRODUCIBLE + """
            cp /config .config
            make -s -C /src O=/scratch -j"$(nproc)" bzImage >log 2>&1 || { tail -n 40 log >&2; exit 1; }
            cp arch/x86/boot/bzImage /out/bzImage
            make -s -C /src O=/scratch kernelrelease >/out/release
        """,
        mnemonic = "KernelImage",
        progress_message = "Compiling the kernel (ten minutes on two cores)",
    )
    return [
        DefaultInfo(files = depset([image])),
        OutputGroupInfo(release = depset([release])),
    ]

kernel_image = rule(
    implementation = _kernel_image_impl,
    attrs = _ATTRS | {
        "config": attr.label(mandatory = True, allow_single_file = True, doc = "The configuration, from kernel_config."),
    },
    doc = "The kernel, everything built in. The output group `release` holds its version, as uname prints it.",
)
