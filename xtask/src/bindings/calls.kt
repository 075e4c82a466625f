// The memory of the structures of a thread's running calls.
internal class UniffiCalls private constructor() {
    private val statuses = ArrayList<UniffiRustCallStatus>()
    private val buffers = ArrayList<RustBuffer>()
    private var running = 0

    fun status(): UniffiRustCallStatus =
        if (statuses.isEmpty()) UniffiRustCallStatus() else statuses.removeAt(statuses.size - 1)

    // Only after success: after an error, the structure still has the error's buffer.
    fun reuse(status: UniffiRustCallStatus) {
        statuses.add(status)
    }

    // Runs a call, which takes the buffers that are made for it, and frees the memory of their structures.
    inline fun <R> arguments(call: () -> R): R {
        val mark = begin()
        try {
            return call()
        } finally {
            end(mark)
        }
    }

    fun begin(): Int {
        running++
        return buffers.size
    }

    fun end(mark: Int) {
        running--
        while (buffers.size > mark) buffers.removeAt(buffers.size - 1).uniffiClose()
    }

    // Outside of a call, the buffer is the result of a callback.
    fun argument(buffer: RustBuffer) {
        if (running > 0) buffers.add(buffer)
    }

    companion object {
        private val threads = ThreadLocal<UniffiCalls>()

        fun ofThread(): UniffiCalls = threads.get() ?: UniffiCalls().also(threads::set)
    }
}

// The memory of the structure, not of the buffer that it describes.
internal fun RustBuffer.uniffiClose() {
    (pointer as? com.sun.jna.Memory)?.close()
}
