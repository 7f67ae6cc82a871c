"""A custom section at the end of a component, readable without running it."""

NAME = "lovage-manifest"


def _leb128(number):
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def section(name, data):
    """A custom section of WebAssembly."""
    label = name.encode()
    payload = _leb128(len(label)) + label + data
    return b"\0" + _leb128(len(payload)) + payload


def embed(wasm, manifest):
    """The component with its manifest."""
    return wasm + section(NAME, manifest.encode())
