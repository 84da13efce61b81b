// A name server for tests: getaddrinfo() of names that end in .test, from a file that a test changes at will.
//
// Preloaded into a server by t/172_discovery.pl. The file (HOSTS_PRELOAD) has a line for each name: the name, and its
// addresses in numbers, or sleep=SECONDS, as a name server that does not answer. A name without a line does not exist.
// Other names are libc's.
#include <chrono>
#include <cstdlib>
#include <dlfcn.h>
#include <fstream>
#include <netdb.h>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>

namespace {

using Function = int (*)(const char *, const char *, const addrinfo *, addrinfo **);

Function libc_getaddrinfo() { return reinterpret_cast<Function>(dlsym(RTLD_NEXT, "getaddrinfo")); }

// What stands behind the name in the file; empty if it is not there.
std::string words_of(const std::string &name) {
    std::ifstream hosts(std::getenv("HOSTS_PRELOAD"));
    for (std::string line; std::getline(hosts, line);)
        if (line.starts_with(name + " "))
            return line.substr(name.size() + 1);
    return {};
}

}  // namespace

extern "C" int getaddrinfo(const char *node, const char *service, const addrinfo *hints, addrinfo **found) {
    const std::string name = node == nullptr ? "" : node;
    if (!name.ends_with(".test"))
        return libc_getaddrinfo()(node, service, hints, found);
    // One list of what libc makes of each address: its freeaddrinfo() frees an item at a time.
    constexpr std::string_view kSleep = "sleep=";
    addrinfo **end = found;
    *found = nullptr;
    std::istringstream words(words_of(name));
    for (std::string word; words >> word;) {
        if (word.starts_with(kSleep)) {
            std::this_thread::sleep_for(std::chrono::seconds(std::stol(word.substr(kSleep.size()))));
            return EAI_AGAIN;
        }
        if (libc_getaddrinfo()(word.c_str(), service, hints, end) == 0)
            while (*end != nullptr)
                end = &(*end)->ai_next;
    }
    return *found == nullptr ? EAI_NONAME : 0;
}
