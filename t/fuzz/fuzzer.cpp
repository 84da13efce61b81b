// libFuzzer's entry: runs the target that FUZZ_TARGET names. Built by make fuzz.
#include "t/fuzz/targets.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

const steadytext::fuzz::Target &chosen() {
    const char *name = std::getenv("FUZZ_TARGET");
    for (const steadytext::fuzz::Target &target : steadytext::fuzz::targets())
        if (name != nullptr && std::string_view(name) == target.name)
            return target;
    for (const steadytext::fuzz::Target &target : steadytext::fuzz::targets())
        std::puts(target.name);
    std::exit(2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    static const steadytext::fuzz::Target &target = chosen();
    target.run({reinterpret_cast<const char *>(data), size});
    return 0;
}
