// How many bytes of a message that has not ended libzmq keeps for a TCP connection: what it has read of the connection by the kernel's account, less what whole
// messages were made of.
//
// libzmq keeps the parts of a message until the last has come, bounds a part and not their number, and tells nobody what it keeps. If it has given out all whole
// messages since the bytes were read, the rest is of one that has not ended. The kernel keeps such an account for TCP, not for Unix sockets.
//
// Used by bgworker/zmq_channel.* and daemon/peer_watch.*. Regime: pure, noexcept; one thread.
#pragma once

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace steadytext::core {

class ReadAccount {
public:
    // What a message costs on the wire: a part has its length in one byte or eight, and its flags.
    [[nodiscard]] static constexpr std::int64_t bytes_on_wire(std::size_t part) noexcept {
        return static_cast<std::int64_t>(part + (part > 255 ? 9 : 2));
    }

    ReadAccount() = default;
    // The socket is libzmq's: it may close it at any moment, and the number be another's.
    ReadAccount(int fd, std::int64_t now_us) noexcept : fd_(fd), inode_(inode_of(fd)), accounted_us_(now_us) {}

    void add_part(std::int64_t on_wire) noexcept { accounted_ += on_wire; }
    void end_message() noexcept { has_ended_message_ = true; }
    // All whole messages that had come were given out.
    void drained() noexcept { is_drained_ = true; }

    // Nullopt: it is not known. To be called several times a second at most.
    [[nodiscard]] std::optional<std::int64_t> unfinished(std::int64_t now_us) noexcept {
        waiting_ = 0;
        const std::int64_t read = inode_ != 0 ? bytes_read(fd_) : -1;
        if (read < 0 || !is_there())  // looked at behind the look, as the number may be another socket's by then
            return std::nullopt;
        waiting_ = std::max<std::int64_t>(0, read - accounted_);
        if (read_ >= 0 && !is_drained_)
            return 0;  // whole messages wait, and libzmq's limit bounds them
        std::int64_t unfinished = 0;
        if (read_ >= 0) {
            const std::int64_t rest = read_ - accounted_;
            if (std::exchange(has_ended_message_, false) && rest < kOverheadBytes) {
                accounted_ = std::max(accounted_, read_);
                accounted_us_ = now_us;
            }
            unfinished = std::max<std::int64_t>(0, rest - kOverheadPerSecond * ((now_us - accounted_us_) / 1'000'000));
        }
        accounted_ = std::min(accounted_, read);
        read_ = read;
        is_drained_ = false;
        return unfinished;
    }

    // That have come, in whole messages or not, as of unfinished().
    [[nodiscard]] std::int64_t waiting() const noexcept { return waiting_; }
    [[nodiscard]] bool is_there() const noexcept { return inode_ != 0 && inode_of(fd_) == inode_; }
    // It is a TCP connection: unfinished() tells once something has come.
    [[nodiscard]] bool may_be_known() const noexcept {
        int protocol = 0;
        socklen_t size = sizeof protocol;
        return is_there() && getsockopt(fd_, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == IPPROTO_TCP;
    }
    [[nodiscard]] int fd() const noexcept { return fd_; }

private:
    // What a connection has beside messages: the handshake, and pings in both directions.
    static constexpr std::int64_t kOverheadBytes = 64 << 10;
    static constexpr std::int64_t kOverheadPerSecond = 256;

    [[nodiscard]] static std::uint64_t inode_of(int fd) noexcept {
        struct stat status;
        return fd >= 0 && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
    }

    // Bytes that were read from a TCP connection; -1: the kernel does not tell.
    [[nodiscard]] static std::int64_t bytes_read(int fd) noexcept {
        tcp_info info = {};
        socklen_t size = sizeof info;
        int unread = 0;
        constexpr std::size_t kNeeded = offsetof(tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received;
        if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || size < kNeeded ||
            info.tcpi_bytes_received == 0 || ioctl(fd, FIONREAD, &unread) != 0)
            return -1;
        return static_cast<std::int64_t>(info.tcpi_bytes_received) - unread;
    }

    int fd_ = -1;
    std::uint64_t inode_ = 0;
    std::int64_t accounted_ = 0;     // bytes of the connection in whole messages
    std::int64_t accounted_us_ = 0;  // when that was last known to be all
    std::int64_t read_ = -1;         // bytes that libzmq had read at the last look; -1: there was none
    std::int64_t waiting_ = 0;
    bool is_drained_ = false;         // since then all whole messages were given out
    bool has_ended_message_ = false;  // and there were some
};

}  // namespace steadytext::core
