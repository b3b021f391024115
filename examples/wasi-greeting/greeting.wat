;; The source of greeting.wasm (wasmtime's wat2wasm makes one of the other): a WASI program without a compiler.
;; It counts its runs in the private folder: appends a byte to "runs" there, and prints one star per run.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "runs")
  (data (i32.const 80) "Hello from WebAssembly: ")
  (data (i32.const 112) "*")
  (data (i32.const 120) "\n")

  ;; Writes `length` bytes at `address` to descriptor `fd`; ends the program where that fails.
  (func $write (param $fd i32) (param $address i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $address))
    (i32.store (i32.const 4) (local.get $length))
    (if (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))
      (then (call $proc_exit (i32.const 1)))))

  (func (export "_start") (local $file i32)
    ;; 3 is /data. O_CREAT = 1; rights: fd_read (2), fd_seek (4), fd_write (64)
    (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 4) (i32.const 1)
          (i64.const 70) (i64.const 70) (i32.const 0) (i32.const 16))
      (then (call $proc_exit (i32.const 1))))
    (local.set $file (i32.load (i32.const 16)))
    (drop (call $fd_seek (local.get $file) (i64.const 0) (i32.const 2) (i32.const 24)))
    (call $write (local.get $file) (i32.const 112) (i32.const 1))
    (drop (call $fd_seek (local.get $file) (i64.const 0) (i32.const 0) (i32.const 24)))
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 4096))
    (if (call $fd_read (local.get $file) (i32.const 0) (i32.const 1) (i32.const 8))
      (then (call $proc_exit (i32.const 1))))
    (i32.store (i32.const 32) (i32.load (i32.const 8)))
    (call $write (i32.const 1) (i32.const 80) (i32.const 24))
    (call $write (i32.const 1) (i32.const 1024) (i32.load (i32.const 32)))
    (call $write (i32.const 1) (i32.const 120) (i32.const 1))))
