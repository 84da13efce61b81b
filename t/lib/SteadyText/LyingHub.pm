# A hub that lies: it logs everybody in and answers the first statement as its mode says, without end, until the other side closes.
#
#   my $liar = SteadyText::LyingHub->new('rows');  # a process of its own, for two minutes at most
#   $liar->conninfo;                               # for steadytext.hub_conninfo
#   $liar->stop;
package SteadyText::LyingHub;

use strict;
use warnings;
use IO::Socket::INET;
use POSIX ();

# unasked: a notice of a gigabyte, before anything is asked. rows: rows without end. row: one of a gigabyte. state: an error with the SQLSTATE of success.
our @MODES = qw(unasked rows row state);

sub message { my ($type, $body) = @_; return $type . pack('N', 4 + length $body) . $body }

sub lie {
    my ($listener, $mode) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $until = time + 120;
    while (time < $until) {
        my $client = $listener->accept or next;
        sysread $client, my $start, 65536;
        (syswrite $client, 'N'), sysread $client, $start, 65536 if unpack('x4N', $start) == 80877103;    # no TLS
        my %settings = (server_version => '15.0', client_encoding => 'UTF8', in_hot_standby => 'off', default_transaction_read_only => 'off');
        syswrite $client, message('R', pack 'N', 0) . join('', map { message('S', "$_\0$settings{$_}\0") } sort keys %settings) . message('K', pack 'NN', 1, 2) . message('Z', 'I');
        my $columns = message('T', pack('n', 2) . join '', map { pack 'Z*NnNnNn', $_, 0, 0, 23, 4, 0xffffffff, 0 } qw(taken refused));
        my %says = (
            unasked => [ 'N' . pack('N', 1 << 30), 'x' x 1048576 ],
            rows    => [ message('1', '') . message('2', '') . $columns, message('D', pack('nN/a*N/a*', 2, '1' x 4000, '0')) x 16 ],
            row     => [ message('1', '') . message('2', '') . $columns . 'D' . pack('N', 1 << 30), 'x' x 1048576 ],
            state   => [ message('E', "SERROR\0C00000\0Mno error\0\0") . message('Z', 'I') ],
        );
        my ($first, $then) = @{ $says{$mode} };
        sysread $client, my $asked, 65536 unless $mode eq 'unasked';
        syswrite $client, $first or next;
        if (defined $then) { 1 while time < $until && syswrite $client, $then }
        else               { sysread $client, $asked, 65536 }
        close $client;
    }
    return;
}

sub new {
    my ($class, $mode) = @_;
    my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1) or die "listen: $!";
    my $process  = fork // die "fork: $!";
    if ($process == 0) { lie($listener, $mode); POSIX::_exit(0) }
    return bless { process => $process, port => $listener->sockport, owner => $$ }, $class;
}

sub conninfo { my ($self) = @_; return "host=127.0.0.1 port=$self->{port} user=node" }

sub stop {
    my ($self) = @_;
    my $process = delete $self->{process} or return;
    kill 'KILL', $process;
    waitpid $process, 0;
    return;
}

sub DESTROY { my ($self) = @_; local $?; $self->stop if $self->{owner} == $$; return }

1;
