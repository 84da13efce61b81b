// The requests that wait for a slot, and the choice of the next request: of the peers with the fewest requests at work,
// the request that came first.
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

// An Item names its peer by `peer`.
template <typename Item>
class PeerLine {
public:
    using AtWork = std::unordered_map<std::uint64_t, std::size_t>;  // requests at work, by peer

    [[nodiscard]] bool empty() const noexcept { return items_.empty(); }
    void put(Item item) { items_.push_back(std::move(item)); }
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
        const auto next = std::min_element(items_.begin(), items_.end(),
                                           [&](const Item &a, const Item &b) { return count(a) < count(b); });
        Item item = std::move(*next);
        items_.erase(next);
        return item;
    }

private:
    std::deque<Item> items_;
};

}  // namespace steadytext::daemon
