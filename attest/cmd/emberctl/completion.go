package main

import "github.com/spf13/cobra"

func (a *app) completion() *cobra.Command {
	c := &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print what completes commands in a shell",
		Long: `Print a script that has a shell complete commands, flags, and the names of
contexts, machines and overlays. Names of the latter two are asked of the server. The
one for bash needs the package bash-completion.`,
		Example: `  source <(emberctl completion bash)
  emberctl completion bash >/etc/bash_completion.d/emberctl
  emberctl completion zsh >"${fpath[1]}/_emberctl"
  emberctl completion fish >~/.config/fish/completions/emberctl.fish`,
		ValidArgs: []string{"bash", "zsh", "fish"},
		Args:      takes("the name of a shell"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			}
			return misuse("there is no completion for %q, only for bash, zsh and fish", args[0])
		},
	}
	return c
}
