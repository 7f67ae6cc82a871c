package lovage

import "unsafe"

// The seed of math/rand is drawn when the runtime starts, and a snapshot would hand the same to every instance. So it
// is drawn anew for each attempt, in the same way: by the runtime's own functions. crypto/rand asks the host each time
// and needs none of this.

//go:linkname randinit runtime.randinit
func randinit()

//go:linkname mrandinit runtime.mrandinit
func mrandinit(m unsafe.Pointer)

//go:linkname getm runtime.getm
func getm() uintptr

//go:linkname globalRand runtime.globalRand
var globalRand struct {
	lock  uintptr
	seed  [32]byte
	state chacha8
	init  bool
}

// chacha8 has the layout of internal/chacha8rand.State in Go 1.27.
type chacha8 struct {
	buf  [32]uint64
	seed [4]uint64
	i    uint32
	n    uint32
	c    uint32
}

func reseed() {
	globalRand.init = false
	randinit()
	mrandinit(unsafe.Pointer(getm()))
}
