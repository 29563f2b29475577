"""Go programs for the image, where size counts and speed does not."""

_GOOPTS = "@rules_go//go/config:gc_goopts"

# Nothing is inlined. For //os/ember that is 10 % less, and 16 % less compressed.
_small = transition(
    implementation = lambda settings, attr: {_GOOPTS: ["-l"]},
    inputs = [],
    outputs = [_GOOPTS],
)

def _small_go_program_impl(ctx):
    program = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = program, target_file = ctx.executable.program, is_executable = True)
    return [DefaultInfo(files = depset([program]), executable = program)]

small_go_program = rule(
    implementation = _small_go_program_impl,
    doc = "A Go program as small as the compiler can make it.",
    attrs = {
        "program": attr.label(cfg = _small, doc = "A go_binary.", executable = True, mandatory = True),
        "_allowlist_function_transition": attr.label(default = "@bazel_tools//tools/allowlists/function_transition_allowlist"),
    },
    executable = True,
)
