// SHA-256 (FIPS 180-4) in base64. A page's Content-Security-Policy names its one script and its one style by their
// digests. The input is a few kilobytes of this project's own files, once per page; no secret depends on it.

package struct Digest {
    private static let constants: [UInt32] = {
        // The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
        primes(64).map { prime in fraction(of: prime) { $0 * $0 * $0 } }
    }()
    private static let start: [UInt32] = primes(8).map { prime in fraction(of: prime) { $0 * $0 } }

    private static func primes(_ count: Int) -> [UInt64] {
        var found: [UInt64] = []
        var candidate: UInt64 = 2
        while found.count < count {
            if found.allSatisfy({ candidate % $0 != 0 }) { found.append(candidate) }
            candidate += 1
        }
        return found
    }

    /// The first 32 fractional bits of the number whose `power` is `prime`, found by bisection in wide integers: exact.
    private static func fraction(of prime: UInt64, power: (UInt128) -> UInt128) -> UInt32 {
        // Fits: the cube needs 8 + 96 bits, the square 5 + 64.
        let scale: UInt128 = power(1 << 32)
        var low: UInt128 = 0, high: UInt128 = 20 << 32
        while high - low > 1 {
            let middle = (low + high) / 2
            if power(middle) <= UInt128(prime) * scale { low = middle } else { high = middle }
        }
        return UInt32(truncatingIfNeeded: low)
    }

    /// The digest of `bytes`, in base64.
    package static func sha256Base64(_ bytes: [UInt8]) -> String {
        var message = bytes
        message.append(0x80)
        while message.count % 64 != 56 { message.append(0) }
        for shift in stride(from: 56, through: 0, by: -8) {
            message.append(UInt8(truncatingIfNeeded: (UInt64(bytes.count) &* 8) >> UInt64(shift)))
        }
        var state = start
        for block in stride(from: 0, to: message.count, by: 64) { fold(message[block ..< block + 64], into: &state) }
        return base64(state.flatMap { word in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> $0) } })
    }

    private static func fold(_ block: ArraySlice<UInt8>, into state: inout [UInt32]) {
        func turned(_ value: UInt32, _ count: UInt32) -> UInt32 { value >> count | value << (32 - count) }
        var words = stride(from: block.startIndex, to: block.endIndex, by: 4).map { at in
            block[at ..< at + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        }
        for index in 16 ..< 64 {
            let (early, late) = (words[index - 15], words[index - 2])
            let first = turned(early, 7) ^ turned(early, 18) ^ early >> 3
            let second = turned(late, 17) ^ turned(late, 19) ^ late >> 10
            words.append(words[index - 16] &+ first &+ words[index - 7] &+ second)
        }
        var next = state
        for index in 0 ..< 64 {
            let (a, b, c, e, f, g) = (next[0], next[1], next[2], next[4], next[5], next[6])
            let sumE = turned(e, 6) ^ turned(e, 11) ^ turned(e, 25), sumA = turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)
            let first = next[7] &+ sumE &+ (e & f ^ ~e & g) &+ constants[index] &+ words[index]
            let second = sumA &+ (a & b ^ a & c ^ b & c)
            next = [first &+ second, a, b, c, next[3] &+ first, e, f, g]
        }
        for index in 0 ..< 8 { state[index] &+= next[index] }
    }

    private static func base64(_ bytes: [UInt8]) -> String {
        let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        var text = ""
        for at in stride(from: 0, to: bytes.count, by: 3) {
            let piece = bytes[at ..< min(at + 3, bytes.count)]
            let value = piece.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - piece.count))
            for index in 0 ... 3 {
                text.append(index <= piece.count ? letters[Int(value >> UInt32(18 - 6 * index) & 63)] : "=")
            }
        }
        return text
    }
}
