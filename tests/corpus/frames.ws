# Frames of WebSockets (RFC 6455, section 5): what a client sends after its handshake to /ws/c, and all
# that it is sent. Each case is sent whole, and byte by byte.
#
# [QUERY] begins a section; `: title` a case. `>` is sent, `<` must come, and with `< closed` the
# connection ends. Bytes are two hexadecimal digits, or text in quotes, in which `*` is one character of
# an id. Masks are zero, so that payloads can be read.

[]
: opening
< 81 29 "{'cursor':'********-0','heartbeat':15000}"

: change of what is followed
> 81 92 00 00 00 00 "{'channels':['d']}"
< 81 29 "{'cursor':'********-0','heartbeat':15000}"
< 81 28 "{'channels':['d'],'cursor':'********-0'}"

: nothing is followed, with a reference
> 81 97 00 00 00 00 "{'channels':[],'ref':7}"
< 81 29 "{'cursor':'********-0','heartbeat':15000}"
< 81 2d "{'channels':[],'cursor':'********-0','ref':7}"

: publish to another channel
> 81 98 00 00 00 00 "{'publish':'d','data':1}"
< 81 29 "{'cursor':'********-0','heartbeat':15000}"
< 81 3f "{'published':{'id':'********-1','channel':'d','subscribers':0}}"

: bytes are no command
> 82 81 00 00 00 00 "x"
< 81 29 "{'cursor':'********-0','heartbeat':15000}"
< 88 41 03 f0 "commands are text; bytes are published with raw=1 and publish=1"
< closed

[raw=1&publish=1]
: text comes back
> 81 85 00 00 00 00 "hello"
< 81 05 "hello"

: bytes come back
> 82 83 00 00 00 00 00 ff 7f
< 82 03 00 ff 7f

: empty text
> 81 80 00 00 00 00
< 81 00

: masked payload
> 81 85 37 fa 21 3d 7f 9f 4d 51 58
< 81 05 "Hello"

: fragments, and a ping between them
> 01 83 00 00 00 00 "Hel"
> 89 81 00 00 00 00 "p"
> 80 82 00 00 00 00 "lo"
< 8a 01 "p"
< 81 05 "Hello"

: close is echoed
> 88 82 00 00 00 00 03 e8
< 88 02 03 e8
< closed

: close without code
> 88 80 00 00 00 00
< 88 00
< closed

: pong that nobody asked for
> 8a 80 00 00 00 00 81 81 00 00 00 00 "x"
< 81 01 "x"

: no mask
> 81 02 "hi"
< 88 17 03 ea "a frame is not masked"
< closed

: opcode that is not defined
> 83 80 00 00 00 00
< 88 1a 03 ea "an opcode is not defined"
< closed

: continuation of nothing
> 80 81 00 00 00 00 "x"
< 88 22 03 ea "a continuation continues nothing"
< closed

: length that is not the shortest
> 81 fe 00 01 00 00 00 00 "x"
< 88 26 03 ea "a length is not in its shortest form"
< closed

: text that is not UTF-8
> 81 81 00 00 00 00 ff
< 88 15 03 ef "a text is not UTF-8"
< closed

: message that is too large
> 82 e5 00 00 00 00
< 88 32 03 f1 "a message is larger than --max-body-bytes allows"
< closed

[raw=1]
: this socket only receives
> 81 81 00 00 00 00 "x"
< 88 3e 03 f0 "this socket only receives; connect with publish=1 to publish"
< closed
