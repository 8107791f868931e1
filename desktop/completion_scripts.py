"""The functions by which bash, zsh and fish complete the words of `signalbox`."""

from typing import Final

BASH: Final = """\
# Completion of signalbox in bash 4.4 and later: eval "$(signalbox completion bash)"
_signalbox_completion() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            part) COMPREPLY+=("$value"); compopt -o nospace ;;
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
        esac
    done < <(COMP_LINE=${COMP_LINE:0:COMP_POINT} COMP_WORD=$2 _SIGNALBOX_COMPLETE=bash_complete \\
        "$1" 2>/dev/null)
}
complete -o nosort -F _signalbox_completion signalbox
"""

ZSH: Final = """\
#compdef signalbox
# Completion of signalbox in zsh: signalbox completion zsh >"${fpath[1]}/_signalbox"
_signalbox_completion() {
    local -a lines plain described parts
    local type value help
    lines=("${(@f)$(COMP_LINE="${words[1,CURRENT]}" _SIGNALBOX_COMPLETE=zsh_complete \\
        ${(Q)words[1]} 2>/dev/null)}")
    for type value help in $lines; do
        case $type in
            plain) [[ $help == _ ]] && plain+=("$value") || described+=("$value:$help") ;;
            part) parts+=("$value") ;;
            dir) _path_files -/ ;;
            file) _path_files ;;
        esac
    done
    (( $#described )) && _describe -V signalbox described -U
    (( $#plain )) && compadd -U -V signalbox -a plain
    (( $#parts )) && compadd -U -S '' -V signalbox -a parts
    (( compstate[nmatches] ))
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _signalbox_completion "$@"
else
    compdef _signalbox_completion signalbox
fi
"""

FISH: Final = """\
# Completion of signalbox in fish:
# signalbox completion fish >~/.config/fish/completions/signalbox.fish
function _signalbox_completion
    set -l line (commandline -cp | string collect)
    for each in (COMP_LINE=$line _SIGNALBOX_COMPLETE=fish_complete signalbox 2>/dev/null)
        set -l found (string split -m 1 , -- $each)
        switch $found[1]
            case plain part
                echo $found[2]
            case dir
                __fish_complete_directories (commandline -ct)
            case file
                __fish_complete_path (commandline -ct)
        end
    end
end
complete --command signalbox --no-files --arguments '(_signalbox_completion)'
"""

SCRIPTS: Final = {"bash": BASH, "zsh": ZSH, "fish": FISH}
