# Completion of server(8) for fish; attributes are asked of the program itself.

function __server_words # the words that are no options, without the one that is being written
	set -l skip 1
	for w in (commandline -opc)
		if test $skip = 1
			set skip 0
		else if contains -- $w -f --table -o --option -p --pidfile -C --control -r --ready
			set skip 1
		else if not string match -q -- '-*' $w
			echo $w
		end
	end
end

function __server_attributes
	set -l words (commandline -opc)
	$words[1] --attributes 2>/dev/null | string replace -r '^([^\t]*)\t[^\t]*\t[^\t]*\t' '$1=\t'
end

function __server_services # of the tables that were named, or the usual one
	set -l words (commandline -opc)
	set -l tables
	for i in (seq 2 (count $words))
		if contains -- $words[(math $i - 1)] -f --table
			set tables $tables -f $words[$i]
		end
	end
	timeout 2 $words[1] $tables --dump 2>/dev/null </dev/null | string match -r '^service [^ {]*' | string replace 'service ' '' | sort -u
end

complete -c server -f
complete -c server -n '__fish_seen_argument -l explain; and test (count (__server_words)) = 0' -a '(__server_services)'
complete -c server -n 'not __fish_seen_argument -l explain; and test (count (__server_words)) = 1' -a '(__fish_complete_command)'
complete -c server -n 'test (count (__server_words)) -gt 1' -F
complete -c server -s f -l table -r -F -d 'read this table'
complete -c server -s t -l check -d 'say what is wrong with the table'
complete -c server -l dump -d 'print the table as it was understood'
complete -c server -l explain -d 'who decides whether a client is served'
complete -c server -s o -l option -x -a '(__server_attributes)' -d 'set an attribute'
complete -c server -s s -l shell -d 'COMMAND is a line for the shell'
complete -c server -s p -l pidfile -r -F -d "write the server's pid there"
complete -c server -s C -l control -r -F -d 'the socket that serverctl talks to'
complete -c server -s r -l ready -x -d 'say there what is listened on'
complete -c server -s D -l daemon -d 'go to the background'
complete -c server -s q -l quiet -d 'log less'
complete -c server -s v -l verbose -d 'log more'
complete -c server -l attributes -d 'list every attribute'
complete -c server -s h -l help -d 'show the options'
complete -c server -s V -l version -d 'name and version'
