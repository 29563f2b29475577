"""What a build is published as."""

def _release_impl(ctx):
    out = ctx.actions.declare_directory(ctx.label.name)
    files = {
        "--config": ctx.file.config,
        "--initrd": ctx.file.initrd,
        "--iso": ctx.file.iso,
        "--kernel": ctx.file.kernel,
        "--measurements": ctx.file.measurements,
        "--release": ctx.attr.kernel[OutputGroupInfo].release.to_list()[0],
        "--sbom": ctx.file.sbom,
        "--script": ctx.file.script,
        "--uki": ctx.file.uki,
    }
    arguments = ["--out", out.path]
    for flag, file in files.items():
        arguments += [flag, file.path]
    ctx.actions.run(
        executable = ctx.executable._release,
        arguments = arguments,
        inputs = files.values(),
        outputs = [out],
        mnemonic = "Release",
        progress_message = "Making %{label}",
    )
    return [DefaultInfo(files = depset([out]))]

release = rule(
    implementation = _release_impl,
    doc = "A folder of everything that is published, which web servers and Tinkerbell's boot server serve as it is.",
    attrs = {
        "config": attr.label(mandatory = True, allow_single_file = True, doc = "The kernel's configuration."),
        "initrd": attr.label(mandatory = True, allow_single_file = True, doc = "The initrd."),
        "iso": attr.label(mandatory = True, allow_single_file = True, doc = "The ISO image."),
        "kernel": attr.label(mandatory = True, allow_single_file = True, doc = "The kernel, from kernel_image."),
        "measurements": attr.label(mandatory = True, allow_single_file = True, doc = "What machines will measure."),
        "sbom": attr.label(mandatory = True, allow_single_file = True, doc = "What all of it is made of, in SPDX."),
        "script": attr.label(mandatory = True, allow_single_file = True, doc = "iPXE's, which loads kernel and initrd from beside itself."),
        "uki": attr.label(mandatory = True, allow_single_file = True, doc = "The unified kernel image, signed or not."),
        "_release": attr.label(default = "//tools/release/cmd/release", cfg = "exec", executable = True),
    },
)
