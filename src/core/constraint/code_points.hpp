// Sets of characters, such as the classes of a regex. Regime: pure.
//
// Used by regex.cpp and schema_compiler.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace steadytext::core::constraint {

class CodePoints {
public:
    static constexpr std::uint32_t kLast = 0x10FFFF;
    using Range = std::pair<std::uint32_t, std::uint32_t>;

    CodePoints() = default;
    CodePoints(std::initializer_list<Range> ranges) : ranges_(ranges) { tidy(); }
    explicit CodePoints(std::vector<Range> ranges) : ranges_(std::move(ranges)) { tidy(); }

    void add(std::uint32_t first, std::uint32_t last) {
        ranges_.emplace_back(first, last);
        tidy();
    }
    void add(const CodePoints &other) {
        ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
        tidy();
    }

    // The characters of `universe` that are not in this set.
    [[nodiscard]] CodePoints complement(const CodePoints &universe) const {
        CodePoints rest;
        std::size_t at = 0;  // ranges before this index no longer matter
        for (auto [first, last] : universe.ranges_) {
            while (at < ranges_.size() && ranges_[at].second < first)
                at++;
            for (std::size_t i = at; i < ranges_.size() && ranges_[i].first <= last && first <= last; i++) {
                if (ranges_[i].first > first)
                    rest.ranges_.emplace_back(first, ranges_[i].first - 1);
                first = ranges_[i].second + 1;
            }
            if (first <= last)
                rest.ranges_.emplace_back(first, last);
        }
        return rest;
    }

    [[nodiscard]] CodePoints intersection(const CodePoints &other) const {
        return complement({{0, kLast}}).complement(other);
    }

    [[nodiscard]] bool is_empty() const { return ranges_.empty(); }
    [[nodiscard]] const std::vector<Range> &ranges() const { return ranges_; }

    friend bool operator<(const CodePoints &a, const CodePoints &b) { return a.ranges_ < b.ranges_; }

private:
    // Sorts the ranges, with gaps between them.
    void tidy() {
        std::sort(ranges_.begin(), ranges_.end());
        std::size_t kept = 0;
        for (const Range &range : ranges_) {
            if (kept > 0 && range.first <= std::uint64_t{ranges_[kept - 1].second} + 1)
                ranges_[kept - 1].second = std::max(ranges_[kept - 1].second, range.second);
            else
                ranges_[kept++] = range;
        }
        ranges_.resize(kept);
    }

    std::vector<Range> ranges_;
};

}  // namespace steadytext::core::constraint
