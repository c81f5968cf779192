# Completion of segue for bash. What there is to complete is read from `segue --help`, so it is never out of date.
_segue_words() {   # the verbs or the flags that a help text explains
  "$1" "${@:2}" --help 2>/dev/null | sed -nE 's/^  (-[a-z],)?(--[a-z-]+|[a-z]+)( .*|$)/\2/p'
}

_segue() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb
  local -a path=()
  for verb in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $verb == -* ]] && break
    path+=("$verb")
  done
  case "$before" in
    --config | --cache | check | format | wipe)
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      compopt -o filenames 2>/dev/null
      return
      ;;
    --io)
      mapfile -t COMPREPLY < <(compgen -W 'auto uring threads' -- "$word")
      return
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$(_segue_words "${COMP_WORDS[0]}" "${path[@]}")" -- "$word")
}

complete -F _segue segue
