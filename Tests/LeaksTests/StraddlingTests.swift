// Addresses across two words: what is passed over holds no address, by all shifts of all pairs.

import Leaks
import Testing

@Suite struct StraddlingTests {
    @Test(arguments: [0x5563_FE54_53E0, 0x7F12_0000_0000, 0x0140_3000, 0x0155_0040_0000] as [UInt64])
    func noAddressIsPassedOver(low: UInt64) {
        let straddling = StraddlingPointers(low: low)
        var random = SystemRandomNumberGenerator(), found = 0
        for round in 0 ..< 20_000 {
            var words: (UInt64, UInt64) = (random.next(), random.next())
            // Zero bytes are frequent, as in real memory; in each second pair lies an address.
            words.0 &= mask(random.next())
            words.1 &= mask(random.next())
            if round % 2 == 0 {
                let shift = UInt64(round / 2 % 7 + 1) * 8, address = low &+ random.next() % 0x1000_0000
                words.0 = words.0 & ~(.max << shift) | address << shift
                words.1 = words.1 & (.max << shift) | address >> (64 - shift)
            }
            let ends = straddling.ends(
                StraddlingPointers.zeroBytes(words.0), StraddlingPointers.zeroBytes(words.1))
            for shift in stride(from: UInt64(8), to: 64, by: 8) {
                let value = words.0 >> shift | words.1 << (64 - shift)
                guard value >= low && value < low &+ 0x1000_0000 else { continue }
                found += 1
                #expect(ends & 1 << (shift - 1) != 0, "\(words) by \(shift)")
            }
        }
        #expect(found >= 10_000)
    }

    @Test func pointersAndSmallNumbersArePassedOver() {
        let straddling = StraddlingPointers(low: 0x5563_FE54_53E0)
        let zeros = StraddlingPointers.zeroBytes
        #expect(straddling.ends(zeros(0x5563_FE54_53E0), zeros(0x5563_FE54_5410)) == 0)
        #expect(zeros(0x0100_8000_007F_0080) == 0x0080_0080_8000_8000)
    }

    private func mask(_ random: UInt64) -> UInt64 {
        (0 ..< 8 as Range<UInt64>).reduce(0) { (sum: UInt64, byte: UInt64) -> UInt64 in
            random >> (byte * 3) & 7 < 3 ? sum : sum | 0xFF << (byte * 8)
        }
    }
}
