package lovage

import (
	"runtime"
	"time"
	"unsafe"
)

//go:wasmimport lovage:task/http@0.1.0 send
func httpSend(
	method unsafe.Pointer, methodLength uint32, url unsafe.Pointer, urlLength uint32,
	headers unsafe.Pointer, headerCount uint32, body unsafe.Pointer, bodyLength uint32,
	isLimited uint32, timeout uint64, result unsafe.Pointer,
)

// sentHeader is a header on its way: name and value.
type sentHeader struct{ name, nameLength, value, valueLength uint32 }

func (imports) send(request Request) (*Response, error) {
	result := new(area)
	defer release(taken)
	fields := make([]sentHeader, 0, len(request.Header))
	for name, value := range request.Header {
		result.keep = append(result.keep, name, value)
		fields = append(fields, sentHeader{address(name), uint32(len(name)), address(value), uint32(len(value))})
	}
	var limited uint32
	if request.Timeout > 0 {
		limited = 1
	}
	wait := uint64(max(0, request.Timeout.Round(time.Millisecond).Milliseconds()))
	httpSend(
		pointer(request.Method), uint32(len(request.Method)), pointer(request.URL), uint32(len(request.URL)),
		unsafe.Pointer(unsafe.SliceData(fields)), uint32(len(fields)),
		unsafe.Pointer(unsafe.SliceData(request.Body)), uint32(len(request.Body)), limited, wait, result.at(0),
	)
	runtime.KeepAlive(fields)
	runtime.KeepAlive(request)
	if result.u8(0) != 0 {
		return nil, result.noAnswer()
	}
	answer := &Response{Status: int(result.u32(4) & 0xffff), Header: map[string]string{}}
	for _, came := range unsafe.Slice((*sentHeader)(result.pointer(8)), result.u32(12)) {
		answer.Header[came.text(came.name, came.nameLength)] = came.text(came.value, came.valueLength)
	}
	answer.Body = []byte(result.string(16))
	return answer, nil
}

func (sentHeader) text(at, length uint32) string { return text(unsafe.Pointer(uintptr(at)), length) }

func address(value string) uint32 { return uint32(uintptr(pointer(value))) }

// noAnswer is the contract's `http.error`.
func (a *area) noAnswer() error {
	kinds := [...]error{ErrDenied, ErrConnection, ErrTimeout, ErrInvalid, ErrLimit, ErrResponse, ErrSoftTimeLimit, ErrHost}
	kind := kinds[min(int(a.u8(4)), len(kinds)-1)]
	if kind == ErrSoftTimeLimit {
		return ErrSoftTimeLimit
	}
	return &hostError{kind, a.string(8)}
}
