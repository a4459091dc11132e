# shellcheck shell=bash
# Completion of server(8), serverctl(8) and client(1) for bash. What there is to complete is asked of
# the programs themselves, so it is never older than they are.

# The options that a program's help shows.
_server_options() {
	local -a words
	local w
	"$1" -h 2>/dev/null </dev/null | while read -ra words; do
		for w in "${words[@]}"; do
			[[ $w == -* ]] || break
			echo "${w%,}"
		done
	done
}

# _server_value LETTER NAME: what stood behind that option last. Bash splits --name=value.
_server_value() {
	local i value=""
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		"$1") value=${COMP_WORDS[i + 1]} ;;
		"$2") value=${COMP_WORDS[i + 1]}; [[ $value != = ]] || value=${COMP_WORDS[i + 2]} ;;
		esac
	done
	echo "$value"
}

# _server_ask PROGRAM WORD...: what the running server says, if it does so at once.
_server_ask() {
	local path
	path=$(_server_value -C --control)
	timeout 2 "$1" ${path:+-C "$path"} "${@:2}" 2>/dev/null </dev/null
}

_server_json() { grep -o "\"$1\": *\"\\{0,1\\}[^\",}]*" | sed 's/.*: *"\{0,1\}//'; }

_server_words() { # of which the current word may become one
	local IFS=$'\n'
	# shellcheck disable=SC2207
	COMPREPLY+=($(compgen -W "$1" -- "$2"))
}

_server_files() {
	local IFS=$'\n'
	compopt -o filenames 2>/dev/null
	# shellcheck disable=SC2207
	COMPREPLY+=($(compgen -f -- "$1"))
}

_server() {
	local program=$1 now=$2 before=$3 i n=0
	local -a table=()
	COMPREPLY=()
	[[ $before != = ]] || before=${COMP_WORDS[COMP_CWORD - 2]}
	case $before in
	-f | --table | -p | --pidfile | -C | --control)
		_server_files "$now"
		return ;;
	-r | --ready)
		return ;;
	-o | --option)
		compopt -o nospace 2>/dev/null
		_server_words "$("$program" --attributes 2>/dev/null | cut -f1 | sed 's/$/=/')" "$now"
		return ;;
	esac
	# How many words there are in front that are no options or their values.
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-f | --table) table+=(-f "${COMP_WORDS[i + 1]}"); ((++i)) ;;
		-o | --option)
			((++i))
			while [[ ${COMP_WORDS[i + 1]} == = || ${COMP_WORDS[i]} == = ]] && ((i + 1 < COMP_CWORD)); do ((++i)); done ;;
		-p | --pidfile | -C | --control | -r | --ready) ((++i)) ;;
		-*) ;;
		*) ((++n)) ;;
		esac
	done
	if [[ " ${COMP_WORDS[*]:1:COMP_CWORD-1} " == *" --explain "* ]]; then
		((n > 0)) || _server_words "$(timeout 2 "$program" "${table[@]}" --dump 2>/dev/null </dev/null |
			sed -n 's/^service \([^ {]*\).*/\1/p' | sort -u)" "$now"
	elif ((n == 1)); then
		_server_words "$(compgen -c -- "$now" | sort -u)" "$now"
	elif ((n > 1)); then
		_server_files "$now"
	fi
	((n > 0)) || [[ $now != -* ]] || _server_words "$(_server_options "$program")" "$now"
}

_serverctl() {
	local program=$1 now=$2 before=$3 i command="" n=0
	COMPREPLY=()
	case $before in
	-C | --control)
		_server_files "$now"
		return ;;
	esac
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-C | --control) ((++i)); [[ ${COMP_WORDS[i]} != = ]] || ((++i)) ;;
		-*) ;;
		*) if [[ -z $command ]]; then command=${COMP_WORDS[i]}; else ((++n)); fi ;;
		esac
	done
	if [[ $now == -* ]]; then
		_server_words "$(_server_options "$program")" "$now"
		return
	fi
	if [[ -z $command ]]; then
		_server_words "$("$program" --commands 2>/dev/null | cut -f1)" "$now"
		return
	fi
	((n == 0)) || return
	# What it takes is in the second column: SERVICE, CONNECTION|SERVICE, [TABLE].
	local takes
	takes=$("$program" --commands 2>/dev/null | while IFS=$'\t' read -r name what _; do
		[[ $name != "$command" ]] || echo "$what"
	done)
	case $takes in
	*TABLE*)
		_server_files "$now" ;;
	*SERVICE*)
		local status
		status=$(_server_ask "$program" status --json)
		_server_words "$(_server_json id <<<"$status" | sort -u)" "$now"
		[[ $takes != *CONNECTION* ]] || _server_words "$(_server_json conn <<<"$status")" "$now" ;;
	esac
}

_client() {
	local program=$1 now=$2 before=$3
	COMPREPLY=()
	case $before in
	-w | -s) return ;;
	esac
	if [[ $now == -* ]]; then
		_server_words "$(_server_options "$program")" "$now"
	elif [[ $now == *: || $now == : ]]; then
		return
	else
		compopt -o nospace 2>/dev/null
		_server_words $'localhost:\nudp:\nunix:\ntcp:\nvsock:' "$now"
	fi
}

complete -F _server server
complete -F _serverctl serverctl
complete -F _client client
