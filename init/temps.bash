# Completion of temps(1) for bash. The program itself knows what may follow.
_temps() {
	local words word=${COMP_WORDS[COMP_CWORD]}

	words=$(temps complete "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _temps temps
