# Completion of serverctl(8) for fish; what there is to complete is asked of the program itself.

function __serverctl_words # the words that are no options, without the one that is being written
	set -l skip 1
	for w in (commandline -opc)
		if test $skip = 1
			set skip 0
		else if contains -- $w -C --control
			set skip 1
		else if not string match -q -- '-*' $w
			echo $w
		end
	end
end

function __serverctl_commands
	set -l words (commandline -opc)
	$words[1] --commands 2>/dev/null | string replace -r '^([^\t]*)\t[^\t]*\t' '$1\t'
end

function __serverctl_takes # the command takes that, and has nothing yet
	set -l words (commandline -opc)
	set -l command (__serverctl_words)
	test (count $command) = 1; or return 1
	for line in ($words[1] --commands 2>/dev/null)
		set -l column (string split \t -- $line)
		if test $column[1] = $command
			string match -q -- "*$argv[1]*" $column[2]
			return
		end
	end
	return 1
end

function __serverctl_status # values of that key of the server's answer, if it comes at once
	set -l words (commandline -opc)
	set -l path
	for i in (seq 2 (count $words))
		if contains -- $words[(math $i - 1)] -C --control
			set path -C $words[$i]
		else if string match -q -- '--control=*' $words[$i]
			set path -C (string replace -- '--control=' '' $words[$i])
		end
	end
	timeout 2 $words[1] $path status --json 2>/dev/null </dev/null | string match -ar "\"$argv[1]\": *\"?[^\",}]*" |
		string replace -r '.*: *"?' '' | sort -u
end

complete -c serverctl -f
complete -c serverctl -n 'test (count (__serverctl_words)) = 0' -a '(__serverctl_commands)'
complete -c serverctl -n '__serverctl_takes SERVICE' -a '(__serverctl_status id)'
complete -c serverctl -n '__serverctl_takes CONNECTION' -a '(__serverctl_status conn)'
complete -c serverctl -n '__serverctl_takes TABLE' -F
complete -c serverctl -s C -l control -r -F -d "the server's control socket"
complete -c serverctl -l json -d 'status: one object for programs'
complete -c serverctl -l commands -d 'list the commands, their words and meaning'
complete -c serverctl -s h -l help -d 'show the commands and options'
complete -c serverctl -s V -l version -d 'name and version'
