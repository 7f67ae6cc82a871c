;; Grows a table until it will not grow. Tables are memory too, though no linear memory shows it.
;;
;; A core module with the canonical ABI written by hand; the host makes it a component when it loads it.
(module
  (memory (export "memory") 1)
  (table $table 1 funcref)
  ;; The manifest, behind the pair (pointer, length) that `describe` returns.
  (data (i32.const 0) "\10\00\00\00\70\00\00\00")
  (data (i32.const 16) "{\22v\22:1,\22abi\22:\22lovage:task@0.1.0\22,\22module\22:\22hostile-tables\22,\22language\22:\22wat\22,\22tasks\22:[{\22name\22:\22hostile.tables\22}]}")
  ;; What `run` returns: tag 0 (ok), then at 8 the pair of the text `null`.
  (data (i32.const 4096) "\00\00\00\00\00\00\00\00\20\10\00\00\04\00\00\00")
  (data (i32.const 4128) "null")
  (global $free (mut i32) (i32.const 8192))
  ;; Room for the host's texts: memory is taken in order and never given back. One page is enough,
  ;; for tests call these tasks without arguments.
  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (func (export "lovage:task/catalog@0.1.0#describe") (result i32) (i32.const 0))
  (func (export "lovage:task/handler@0.1.0#run")
    (param $task i32) (param $task_length i32) (param $args i32) (param $args_length i32)
    (param $kwargs i32) (param $kwargs_length i32) (result i32)
    (loop $more
      (table.grow $table (ref.null func) (i32.const 1000))
      (i32.ne (i32.const -1))
      (br_if $more))
    (unreachable)
    (i32.const 4096)))
