package lovage

import (
	"math"
	"runtime"
	"time"
	"unsafe"
)

// This file is the contract of `wit/` in the canonical ABI, by hand: the world is small, and a generator's runtime
// allocates on Go's heap where the ABI allows no call of WASI, which Go's allocator makes now and then. What the host
// hands over is put into an arena instead, and copied from there at once.

// arena is where the host puts texts. It has room for the arguments of a task, which are at most a mebibyte.
var arena [1<<20 + 1<<18]byte

// taken is how much of the arena is in use.
var taken uintptr

//go:linkname persistentalloc runtime.persistentalloc
func persistentalloc(size, align uintptr, stat *uint64) unsafe.Pointer

// beside counts what did not fit into the arena.
var beside uint64

//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	start := (taken + uintptr(align) - 1) &^ (uintptr(align) - 1)
	if end := start + uintptr(size); end <= uintptr(len(arena)) {
		taken = end
		return unsafe.Pointer(&arena[start])
	}
	// Memory that the garbage collector knows nothing of; it is given back with the instance.
	return persistentalloc(uintptr(size), uintptr(align), &beside)
}

// text copies what the host put there.
func text(at unsafe.Pointer, length uint32) string {
	return string(unsafe.Slice((*byte)(at), length))
}

// area is a place that the host writes results to, or the guest its own.
type area struct {
	words [24]uint64
	// keep holds what the area points to.
	keep []string
}

func (a *area) at(offset uintptr) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(&a.words), offset) }

func (a *area) u8(offset uintptr) uint8               { return *(*uint8)(a.at(offset)) }
func (a *area) u32(offset uintptr) uint32             { return *(*uint32)(a.at(offset)) }
func (a *area) u64(offset uintptr) uint64             { return *(*uint64)(a.at(offset)) }
func (a *area) setU8(offset uintptr, value uint8)     { *(*uint8)(a.at(offset)) = value }
func (a *area) setU32(offset uintptr, value uint32)   { *(*uint32)(a.at(offset)) = value }
func (a *area) setU64(offset uintptr, value uint64)   { *(*uint64)(a.at(offset)) = value }
func (a *area) pointer(offset uintptr) unsafe.Pointer { return unsafe.Pointer(uintptr(a.u32(offset))) }
func (a *area) string(offset uintptr) string          { return text(a.pointer(offset), a.u32(offset+4)) }
func (a *area) clear()                                { *a = area{} }

func (a *area) setString(offset uintptr, value string) {
	a.keep = append(a.keep, value)
	a.setU32(offset, uint32(uintptr(unsafe.Pointer(unsafe.StringData(value)))))
	a.setU32(offset+4, uint32(len(value)))
}

// setOption writes an option<string>: its tag, then the text.
func (a *area) setOption(offset uintptr, value *string) {
	if value != nil {
		a.setU8(offset, 1)
		a.setString(offset+4, *value)
	}
}

// setTime writes an option<u64> of milliseconds.
func (a *area) setTime(offset uintptr, value *time.Duration) {
	if value != nil {
		a.setU8(offset, 1)
		a.setU64(offset+8, uint64(max(0, value.Round(time.Millisecond).Milliseconds())))
	}
}

// cursor reads the fields of a record in their order, each where its alignment puts it.
type cursor struct {
	area *area
	next uintptr
}

func (c *cursor) align(to uintptr) { c.next = (c.next + to - 1) &^ (to - 1) }

func (c *cursor) string() string {
	c.align(4)
	c.next += 8
	return c.area.string(c.next - 8)
}

func (c *cursor) option() string {
	c.align(4)
	c.next += 12
	if c.area.u8(c.next-12) == 0 {
		return ""
	}
	return c.area.string(c.next - 8)
}

func (c *cursor) u32() uint32 {
	c.align(4)
	c.next += 4
	return c.area.u32(c.next - 4)
}

func (c *cursor) bool() bool {
	c.next++
	return c.area.u8(c.next-1) != 0
}

//go:wasmimport lovage:task/context@0.1.0 current
func contextCurrent(result unsafe.Pointer)

//go:wasmimport lovage:task/context@0.1.0 time-left
func contextTimeLeft(result unsafe.Pointer)

//go:wasmimport lovage:task/context@0.1.0 request
func contextRequest(result unsafe.Pointer)

//go:wasmimport lovage:task/context@0.1.0 revoked
func contextRevoked() uint32

//go:wasmimport lovage:task/log@0.1.0 write
func logWrite(level uint32, message unsafe.Pointer, messageLength uint32, fields unsafe.Pointer, fieldsLength uint32)

//go:wasmimport lovage:task/progress@0.1.0 update
func progressUpdate(state unsafe.Pointer, stateLength uint32, meta unsafe.Pointer, metaLength uint32, result unsafe.Pointer)

//go:wasmimport lovage:task/outbox@0.1.0 put
func outboxPut(arguments, result unsafe.Pointer)

//go:wasmimport lovage:task/outbox@0.1.0 send
func outboxSend(signature unsafe.Pointer, signatureLength uint32, result unsafe.Pointer)

//go:wasmimport lovage:task/outbox@0.1.0 add-to-chord
func outboxAddToChord(signature unsafe.Pointer, signatureLength uint32, result unsafe.Pointer)

//go:wasmimport lovage:task/steps@0.1.0 begin
func stepsBegin(name unsafe.Pointer, nameLength uint32, input unsafe.Pointer, inputLength, doubt uint32, result unsafe.Pointer)

//go:wasmimport lovage:task/steps@0.1.0 [method]step.key
func stepKey(step uint32, result unsafe.Pointer)

//go:wasmimport lovage:task/steps@0.1.0 [method]step.commit
func stepCommit(step uint32, value unsafe.Pointer, valueLength uint32, result unsafe.Pointer)

//go:wasmimport lovage:task/steps@0.1.0 [method]step.abandon
func stepAbandon(step uint32, result unsafe.Pointer)

func pointer(value string) unsafe.Pointer { return unsafe.Pointer(unsafe.StringData(value)) }

//go:wasmimport lovage:task/steps@0.1.0 [resource-drop]step
func stepDrop(step uint32)

// imports answers by asking the host.
type imports struct{}

func (imports) current() attempt {
	result := new(area)
	defer release(taken)
	contextCurrent(result.at(0))
	read := cursor{area: result}
	told := attempt{taskID: read.string(), rootID: read.option(), parentID: read.option(), groupID: read.option(), retries: read.u32()}
	read.align(4)
	if limited, most := result.u8(read.next) != 0, result.u32(read.next+4); limited {
		told.maxRetries = &most
	}
	read.next += 8
	told.idempotencyKey, told.queue = read.string(), read.string()
	told.eta, told.expires = read.option(), read.option()
	told.redelivered = read.bool()
	told.headers = read.string()
	return told
}

// release gives back what the host put into the arena since it was taken so far.
func release(before uintptr) { taken = before }

func (imports) timeLeft() (*time.Duration, time.Duration) {
	result := new(area)
	contextTimeLeft(result.at(0))
	hard := milliseconds(result.u64(16))
	if result.u8(0) == 0 {
		return nil, hard
	}
	soft := milliseconds(result.u64(8))
	return &soft, hard
}

func milliseconds(count uint64) time.Duration {
	return time.Duration(min(count, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

func (imports) revoked() bool { return contextRevoked() != 0 }

// problem is the host-error at an offset.
func (a *area) problem(offset uintptr) error {
	switch a.u8(offset) {
	case 0:
		return ErrSoftTimeLimit
	case 1:
		return &hostError{ErrUnavailable, a.string(offset + 4)}
	case 2:
		return &hostError{ErrInvalid, a.string(offset + 4)}
	case 3:
		return &hostError{ErrLimit, a.string(offset + 4)}
	}
	return &hostError{ErrHost, a.string(offset + 4)}
}

func (a *area) failed() error {
	if a.u8(0) == 0 {
		return nil
	}
	return a.problem(4)
}

func (imports) put(task, args, kwargs string, options callOptions) (string, error) {
	given, result := new(area), new(area)
	defer release(taken)
	given.setString(0, task)
	given.setString(8, args)
	given.setString(16, kwargs)
	given.setOption(24, options.queue)
	given.setTime(40, options.countdown)
	given.setTime(56, options.expires)
	if options.priority != nil {
		given.setU8(72, 1)
		given.setU8(73, *options.priority)
	}
	if options.ignoreResult {
		given.setU8(74, 1)
	}
	given.setOption(76, options.headers)
	outboxPut(given.at(0), result.at(0))
	runtime.KeepAlive(given)
	return result.answered()
}

// answered is a result<string, host-error>.
func (a *area) answered() (string, error) {
	if err := a.failed(); err != nil {
		return "", err
	}
	return a.string(4), nil
}

func (imports) sendSignature(signature string) (string, error) {
	result := new(area)
	defer release(taken)
	outboxSend(pointer(signature), uint32(len(signature)), result.at(0))
	return result.answered()
}

func (imports) addToChord(signature string) (string, error) {
	result := new(area)
	defer release(taken)
	outboxAddToChord(pointer(signature), uint32(len(signature)), result.at(0))
	return result.answered()
}

func (imports) request() (string, error) {
	result := new(area)
	defer release(taken)
	contextRequest(result.at(0))
	return result.answered()
}

func (imports) progress(state, meta string) error {
	result := new(area)
	defer release(taken)
	progressUpdate(pointer(state), uint32(len(state)), pointer(meta), uint32(len(meta)), result.at(0))
	return result.failed()
}

func (imports) log(level Level, message, fields string) {
	logWrite(uint32(level), pointer(message), uint32(len(message)), pointer(fields), uint32(len(fields)))
}

// sleep waits in the scheduler, which waits in WASI: the host lets other tasks run.
func (imports) sleep(wait time.Duration) { time.Sleep(wait) }

func (imports) begin(name, input string, doubt Doubt) (begun, error) {
	result := new(area)
	defer release(taken)
	stepsBegin(pointer(name), uint32(len(name)), pointer(input), uint32(len(input)), uint32(doubt), result.at(0))
	if err := result.failed(); err != nil {
		return begun{}, err
	}
	switch result.u8(4) {
	case 1:
		return begun{value: result.string(8)}, nil
	default:
		return begun{handle: stepHandle(result.u32(8)), ambiguous: result.u8(4) == 2}, nil
	}
}

// stepHandle is the host's number of a step. It lives as long as the attempt.
type stepHandle uint32

func (s stepHandle) key() string {
	result := new(area)
	defer release(taken)
	stepKey(uint32(s), result.at(0))
	return result.string(0)
}

func (s stepHandle) commit(value string) error {
	result := new(area)
	defer release(taken)
	stepCommit(uint32(s), pointer(value), uint32(len(value)), result.at(0))
	return result.failed()
}

func (s stepHandle) abandon() error {
	result := new(area)
	defer release(taken)
	stepAbandon(uint32(s), result.at(0))
	return result.failed()
}

func (s stepHandle) drop() { stepDrop(uint32(s)) }

// answer is what run and describe hand to the host; it lives until the next call.
var answer area

//go:wasmexport lovage:task/handler@0.1.0#run
func exportedRun(task unsafe.Pointer, taskLength uint32, args unsafe.Pointer, argsLength uint32, kwargs unsafe.Pointer, kwargsLength uint32) unsafe.Pointer {
	name, given, named := text(task, taskLength), text(args, argsLength), text(kwargs, kwargsLength)
	taken = 0
	reseed()
	value, end := run(imports{}, name, given, named)
	answer.clear()
	if end == nil {
		answer.setString(8, value)
		return answer.at(0)
	}
	answer.setU8(0, 1)
	answer.setU8(8, uint8(end.end))
	switch end.end {
	case ignored:
		return answer.at(0)
	case replaced:
		answer.setString(16, end.text)
		return answer.at(0)
	}
	answer.setString(16, end.name)
	if end.module != "" {
		answer.setOption(24, &end.module)
	}
	answer.setString(36, end.args)
	if end.trace != "" {
		answer.setOption(44, &end.trace)
	}
	if end.end == again {
		answer.setTime(56, end.after)
		if end.text != "" {
			answer.setOption(72, &end.text)
		}
	}
	return answer.at(0)
}

//go:wasmexport lovage:task/catalog@0.1.0#describe
func exportedDescribe() unsafe.Pointer {
	answer.clear()
	answer.setString(0, Manifest())
	return answer.at(0)
}

// nobodyElse answers while the module's memory is prepared.
type nobodyElse struct{ *Host }

func (nobodyElse) sleep(time.Duration) {}

// exportedSnapshot is called once, when the module is uploaded, after its packages are initialised: the memory that it
// leaves behind is what every instance starts with. It runs nothing a few times and collects the garbage, so that an
// attempt finds its heap and its stacks ready.
//
//go:wasmexport lovage-snapshot
func exportedSnapshot() {
	tasks[warm], _ = declare(warm, func(_ *Ctx, x, y int) (int, error) { return x + y, nil }, nil)
	for range 3 {
		for _, args := range []string{"[2,3]", `["a",3]`} {
			_, _ = run(nobodyElse{NewHost()}, warm, args, "{}")
		}
	}
	delete(tasks, warm)
	runtime.GC()
}

const warm = "lovage.warm"
