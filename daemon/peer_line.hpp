// The requests that wait for a slot, and the choice of the next request: of the peers with the fewest requests at work,
// the request that came first; requests in the background behind all others.
//
// Owned by the generator's thread. Regime: pure (may throw std::bad_alloc). So a peer that sends hundreds of requests
// at once only fills the slots that the others leave, and a peer with no request at work waits for a single slot to
// become free, not for hundreds of requests.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>

namespace steadytext::daemon {

// An Item names its peer by `peer`, and its class by `is_background`.
template <typename Item>
class PeerLine {
public:
    using AtWork = std::unordered_map<std::uint64_t, std::size_t>;  // requests at work, by peer

    [[nodiscard]] bool empty() const noexcept { return items_.empty(); }
    void put(Item item) { items_.push_back(std::move(item)); }
    [[nodiscard]] bool has_interactive() const noexcept {
        return std::any_of(items_.begin(), items_.end(), [](const Item &item) { return !item.is_background; });
    }
    template <typename Condition>
    void erase_if(Condition condition) {
        std::erase_if(items_, condition);
    }

    // The next item; the line must not be empty.
    [[nodiscard]] Item take(const AtWork &at_work) {
        const auto count = [&](const Item &item) {
            const auto found = at_work.find(item.peer);
            return found == at_work.end() ? std::size_t{0} : found->second;
        };
        const auto rank = [&](const Item &item) { return std::pair(item.is_background, count(item)); };
        const auto next = std::min_element(items_.begin(), items_.end(),
                                           [&](const Item &a, const Item &b) { return rank(a) < rank(b); });
        Item item = std::move(*next);
        items_.erase(next);
        return item;
    }

private:
    std::deque<Item> items_;
};

}  // namespace steadytext::daemon
