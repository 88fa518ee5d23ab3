#!/bin/sh
# A buildhook filter in POSIX shell and awk: lets questions through to the next plugin and
# lets nothing be stored.
#
#     BUILDHOOK_HOOK="sh readonly.sh next-plugin args…" RUSTC_WRAPPER=buildhook cargo build
#
# It shows how little a filter has to understand: of a request the members `kind`, `id` and
# `deadline-ms`; of the next plugin's hello the hooks. All else is passed on byte for byte.
# It takes one request at a time and starts four processes for each; the same in Rust is
# plugins/readonly. Known gap: a shell cannot wait with a limit, so a next plugin that hangs
# hangs this one too, and the host gives up on both.
set -u

say() { printf '%s\n' "$1"; }

# Says why it cannot work, to people and to the host.
refuse() {
    printf 'readonly.sh: %s\n' "$2" >&2
    # It becomes a JSON string: without what would have to be escaped there.
    text=$(printf '%s' "$2" | LC_ALL=C tr -d '"\\\000-\037\177-\377')
    say '{"v":[1],"plugin":{"name":"readonly-sh","version":"1"},"error":{"kind":"'"$1"'","message":"'"$text"'","scope":"session"}}'
    exit 2
}

# An answer of our own: to the request $1, an error of kind $2 and scope $4, in words $3.
fault() {
    say '{"id":'"$1"',"kind":"error","error":{"kind":"'"$2"'","message":"'"$3"'","scope":"'"$4"'"}}'
}

# Reads a message. Prints `kind` and its kind, or `broken`; its id; the message with 20 ms,
# which is what we may need, taken off `deadline-ms`.
scan='
function string_end(s, i,   c) {            # behind the string that begins at i, or 0
    for (i++; i <= length(s); i++) {
        c = substr(s, i, 1)
        if (c == "\\") i++
        else if (c == "\"") return i + 1
    }
    return 0
}
function plain(text,   at, code) {          # a string without quotes and \u00..
    text = substr(text, 2, length(text) - 2)
    while (at = match(text, /\\u00[2-7][0-9a-fA-F]/)) {
        code = 16 * substr(text, at + 4, 1)
        code += index("0123456789abcdef", tolower(substr(text, at + 5, 1))) - 1
        text = substr(text, 1, at - 1) sprintf("%c", code) substr(text, at + 6)
    }
    return text
}
{
    line = $0; kind = name = ""; id = depth = is_name = 0
    for (i = 1; i <= length(line); ) {
        c = substr(line, i, 1)
        size = 1
        if (c == "\"") {
            end = string_end(line, i)
            if (!end) { depth = -1; break }
            size = end - i
            if (depth == 1 && is_name) name = plain(substr(line, i, size))
            else if (depth == 1 && name == "kind") kind = plain(substr(line, i, size))
            is_name = 0
        }
        else if (c ~ /[{[]/) is_name = (++depth == 1)
        else if (c ~ /[]}]/) depth--
        else if (c == "," && depth == 1) is_name = 1
        else if (c ~ /[0-9]/ && depth == 1) {
            for (size = 1; substr(line, i + size, 1) ~ /[0-9]/; ) size++
            number = substr(line, i, size)
            if (name == "id") id = number
            if (name == "deadline-ms") {
                left = sprintf("%.0f", number > 20 ? number - 20 : 0)
                line = substr(line, 1, i - 1) left substr(line, i + size)
                size = length(left)
            }
        }
        i += size
    }
    print (depth == 0 && line ~ /^[ \t]*[{].*[}][ \t\r]*$/) ? "kind " kind : "broken"
    print id; print line
}'
newline='
'

# Reads the message $1 into kind, id and message.
parse() {
    message=$(printf '%s\n' "$1" | LC_ALL=C awk "$scan")
    kind=${message%%"$newline"*} message=${message#*"$newline"}
    id=${message%%"$newline"*} message=${message#*"$newline"}
}

# Passes on the message that was parsed, and says what the next plugin answers. A next plugin
# that talks nonsense is ended: whatever it says later would be out of step.
ask() {
    wanted=$id
    printf '%s\n' "$message" >&3 && IFS= read -r answer <&4 || answer=
    parse "$answer"
    case $kind in
        'kind hit' | 'kind miss' | 'kind error') [ "$id" = "$wanted" ] && say "$answer" && return ;;
    esac
    kill "$next" 2> /dev/null
    fault "$wanted" child 'the next plugin gave no answer' request
}

[ $# -gt 0 ] || refuse config 'usage: readonly.sh NEXT ARGS...'
command -v "$1" > /dev/null || refuse child "cannot find the next plugin $1"

# The next plugin, with descriptor 3 as its input and 4 as its output.
pipes=$(mktemp -d) || refuse other 'no temporary folder'
trap 'rm -rf "$pipes"' EXIT
trap 'exit 1' HUP INT TERM
mkfifo "$pipes/down" "$pipes/up"
"$@" < "$pipes/down" > "$pipes/up" &
next=$!
exec 3> "$pipes/down" 4< "$pipes/up"
rm -rf "$pipes"
# A next plugin that has died is noticed, not died of.
trap '' PIPE

IFS= read -r hello <&4 || refuse child "$1 exited without a hello"
versions=$(printf '%s\n' "$hello" | sed 's/.*"v"[ ]*:[ ]*\[\([0-9, ]*\)\].*/,\1,/; s/ //g')
case $hello in
    *'"error"'*) refuse child "$1 cannot work: $hello" ;;
    *'"hooks"'*'"want-to-build"'*) hooks='"want-to-build"' ;;
    *'"hooks"'*) hooks= ;;
    *) refuse child "$1 does not speak the buildhook protocol" ;;
esac
case $versions in
    *,1,*) ;;
    *) refuse child "$1 does not speak version 1 of the protocol" ;;
esac
say '{"v":[1],"plugin":{"name":"readonly-sh","version":"1"},"hooks":['"$hooks"'],"drain-ms":1000}'

code=0
while IFS= read -r line; do
    parse "$line"
    case $kind in
        'kind want-to-build') ask ;;
        'kind ') fault "$id" bad-request 'a request has a kind' request ;;
        broken)
            fault 0 bad-request 'a line is no message' session
            code=1
            break
            ;;
        *) fault "$id" unknown-kind 'this filter lets want-to-build through only' request ;;
    esac
done
# The next plugin sees the end of its input, and ends.
exec 3>&-
wait "$next"
exit "$code"
