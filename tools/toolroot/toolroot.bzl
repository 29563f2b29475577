"""Actions that run inside a tool root (//tools/toolroot), with nothing of the host's but its kernel."""

TOOLROOT_ATTRS = {
    "_enter": attr.label(default = "//tools/toolroot/enter", cfg = "exec", executable = True),
}

# The directories that a marker stands for are named inside the action, where the sandbox's links
# can be followed; scratch space is a directory of the sandbox, which has the disk behind it.
_COMMAND = """set -eu
enter=$1 root=$2 out=$3; shift 3
args=()
while [ "$1" != -- ]; do
  case $1 in
    *:SOURCE:*) args+=(--bind "$(dirname "$(readlink -f "${1%%:SOURCE:*}")")/src:${1#*:SOURCE:}") ;;
    *) args+=(--bind "$1") ;;
  esac
  shift
done
mkdir scratch
exec "$enter" --no-net --root "$root" "${args[@]}" --rw "$out:/out" --rw scratch:/scratch --env SOURCE_DATE_EPOCH=0 --chdir /scratch "$@"
"""

def run_in_toolroot(ctx, root, outputs, script, arguments = [], inputs = {}, sources = {}, cpus = 1, **kwargs):
    """Runs a bash script as an action inside a tool root.

    The script runs in an empty directory, without network; it finds its inputs at the paths given
    here and writes its outputs by their base names to /out.

    Args:
      ctx: the rule's context, which has TOOLROOT_ATTRS.
      root: the root's marker, a File.
      outputs: the declared outputs, all in one directory.
      script: the bash script; `set -eu` is in force.
      arguments: its arguments.
      inputs: File: path inside.
      sources: marker File: path inside of the directory src/ beside it.
      cpus: how many processors it keeps busy.
      **kwargs: more arguments for ctx.actions.run_shell, such as mnemonic.
    """
    binds = ["{}:{}".format(f.path, path) for f, path in inputs.items()]
    binds += ["{}:SOURCE:{}".format(f.path, path) for f, path in sources.items()]
    ctx.actions.run_shell(
        command = _COMMAND,
        arguments = [ctx.executable._enter.path, root.path, outputs[0].dirname] + binds +
                    ["--", "bash", "-euc", script, "bash"] + arguments,
        inputs = [root] + inputs.keys() + sources.keys(),
        outputs = outputs,
        tools = [ctx.attr._enter[DefaultInfo].files_to_run],
        resource_set = _two_cpus if cpus > 1 else None,
        **kwargs
    )

def _two_cpus(_os, _inputs):
    return {"cpu": 2, "memory": 2000}
