# Functions for the commands in catalogue.txt. Each command runs in an empty folder, with
#   $speech   the spoken sentence: WAV, 16 kHz, mono, 16 bit
#   $out      the file to make
# shellcheck shell=bash
set -euo pipefail

# Converts the sentence, or the inputs of the -i given: convert [FFMPEG ARGUMENTS].
convert() { ff -i "$speech" "$@" "$out"; }

# ffmpeg without its chatter, always overwriting.
ff() { ffmpeg -hide_banner -loglevel error -nostdin -y "$@"; }

# Makes the file $1 of the sentence with the ffmpeg arguments that follow.
base() { local file=$1; shift; ff -i "$speech" "$@" "$file"; }

# Prints the offset of the first occurrence of the text $2 in the file $1.
offset_of() { LC_ALL=C grep -abo -m1 -F -- "$2" "$1" | head -n 1 | cut -d: -f1; }

# Overwrites bytes of the file $1 from offset $2 on: poke FILE OFFSET HEX.
poke() {
    printf '%b' "$(sed 's/../\\x&/g' <<<"$3")" |
        dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# The number $1 as hexadecimal bytes, 32 bit, little or big endian.
le32() { printf '%08x' "$(($1 & 0xFFFFFFFF))" | sed -E 's/(..)(..)(..)(..)/\4\3\2\1/'; }
be32() { printf '%08x' "$(($1 & 0xFFFFFFFF))"; }

bytes_of() { stat -c %s "$1"; }

# Sets the sizes in a WAV file's header: wav_sizes FILE RIFF DATA. "-" leaves one as it is.
wav_sizes() {
    if [ "$2" != - ]; then poke "$1" 4 "$(le32 "$2")"; fi
    if [ "$3" != - ]; then poke "$1" "$(($(offset_of "$1" data) + 4))" "$(le32 "$3")"; fi
}

# The first $2 percent of the file $1.
percent() { head -c "$(($(bytes_of "$1") * $2 / 100))" "$1"; }

# $1 bytes that are not audio of any kind, always the same ones.
noise() { head -c "$1" < <(seq 1000000 9999999); }

zeros() { head -c "$1" /dev/zero; }
