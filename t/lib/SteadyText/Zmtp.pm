# ZeroMQ's protocol (ZMTP 3.1, no security) by hand, for peers that libzmq would not be: a client that takes another's name, a daemon that floods.
#
#   my $other = greet($socket, 'DEALER', $name);  # what the peer says of itself: {'Socket-Type' => ..., 'Identity' => ...}
#   send_message($socket, $body);                 # behind an empty frame, as gateways and daemons have it
#   my $body = read_message($socket, $seconds);   # undef: none came, or the connection ended
#   my %messages = gather($seconds, $is_enough, @sockets);  # socket => [ bodies ], until $is_enough->(\%messages); all answer pings meanwhile
package SteadyText::Zmtp;

use strict;
use warnings;
use Exporter qw(import);
use IO::Select;
use Time::HiRes qw(time);

our @EXPORT = qw(frame gather greet read_message send_message);
my ($MORE, $LONG, $COMMAND) = (1, 2, 4);

sub frame {
    my ($body, $flags) = @_;
    $flags //= 0;
    return length $body < 256 ? pack('CCa*', $flags, length $body, $body) : pack('CQ>a*', $flags | $LONG, length $body, $body);
}

sub send_all {
    my ($socket, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    for (my $sent = 0; $sent < length $bytes;) {
        my $now = syswrite $socket, $bytes, length($bytes) - $sent, $sent;
        return 0 unless $now;
        $sent += $now;
    }
    return 1;
}

# As many bytes as wanted, or undef.
sub read_bytes {
    my ($socket, $count, $until) = @_;
    my $bytes = '';
    while (length $bytes < $count) {
        my $left = $until - time;
        return if $left <= 0 || !IO::Select->new($socket)->can_read($left);
        return unless sysread $socket, $bytes, $count - length $bytes, length $bytes;
    }
    return $bytes;
}

sub read_frame {
    my ($socket, $until) = @_;
    my $flags = read_bytes($socket, 1, $until) // return;
    $flags = ord $flags;
    my $size = $flags & $LONG ? unpack 'Q>', read_bytes($socket, 8, $until) // return : unpack 'C', read_bytes($socket, 1, $until) // return;
    my $body = $size ? read_bytes($socket, $size, $until) // return : '';
    return ($flags, $body);
}

sub greet {
    my ($socket, $type, $name) = @_;
    my $ready = pack 'Ca*', 5, 'READY';
    $ready .= pack('Ca*Na*', length $_->[0], $_->[0], length $_->[1], $_->[1]) for [ 'Socket-Type', $type ], [ 'Identity', $name // '' ];
    send_all($socket, pack('CQ>CCCa20Cx31', 0xff, 1, 0x7f, 3, 1, 'NULL', $type eq 'ROUTER' ? 1 : 0) . frame($ready, $COMMAND)) or return;
    my $until = time + 20;
    read_bytes($socket, 64, $until) // return;
    my (undef, $said) = read_frame($socket, $until);
    my %said;
    my $properties = substr $said // return, 6;
    while ($properties =~ s/^(.)//s) {
        my $key = substr $properties, 0, ord $1, '';
        my $length = unpack 'N', substr $properties, 0, 4, '';
        $said{$key} = substr $properties, 0, $length, '';
    }
    return \%said;
}

sub send_message { my ($socket, $body) = @_; return send_all($socket, frame('', $MORE) . frame($body)) }

# The next frame, and whether it is the last of a message; a ping is answered. Empty: none came.
sub take_frame {
    my ($socket, $until) = @_;
    my ($flags, $body) = read_frame($socket, $until) or return;
    send_all($socket, frame("\x04PONG" . substr($body, 7), $COMMAND)) if $flags & $COMMAND && $body =~ /^\x04PING/;
    return ($body, !($flags & ($COMMAND | $MORE)));
}

# The last frame of the next message.
sub read_message {
    my ($socket, $seconds) = @_;
    my $until = time + $seconds;
    while (my ($body, $is_last) = take_frame($socket, $until)) {
        return $body if $is_last;
    }
    return;
}

sub gather {
    my ($seconds, $is_enough, @sockets) = @_;
    my $until = time + $seconds;
    my $select = IO::Select->new(@sockets);
    my %messages;
    while (!$is_enough->(\%messages) && $select->count && time < $until) {
        for my $socket ($select->can_read(0.2)) {
            my ($body, $is_last) = take_frame($socket, time + 20) or $select->remove($socket);
            push @{ $messages{$socket} }, $body if $is_last;
        }
    }
    return %messages;
}

1;
