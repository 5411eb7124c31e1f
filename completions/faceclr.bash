_faceclr_completion() {
    local IFS=$'
'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" \
                   COMP_CWORD=$COMP_CWORD \
                   _FACECLR_COMPLETE=complete_bash $1 ) )
    (( ${#COMPREPLY[@]} == 0 )) || mapfile -t COMPREPLY < <(printf "%q\n" "${COMPREPLY[@]}")
    return 0
}

complete -o default -F _faceclr_completion faceclr
