# A private PostgreSQL cluster for one test: scripts/devcluster with ways to ask, wait, and break things.
#
#   my $cluster = SteadyText::Cluster->new(daemon => 'echo', conf => ["steadytext.on_failure = 'error'"]);
#   is($cluster->sql("SELECT steadytext_generate('hi')"), 'hi');
#   my $session = $cluster->session;  $session->send("SELECT ..."); ... $session->finish;
#
# Everything waits for a condition with a deadline (poll_until), never for a time. The cluster goes when the test ends.
package SteadyText::Cluster;

use strict;
use warnings;
use feature 'state';
use Carp qw(croak);
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp ();
use IPC::Run ();
use POSIX ();
use Time::HiRes qw(time sleep);

my @running;
our $ROOT = abs_path(dirname(__FILE__) . '/../../..');

sub new {
    my ($class, %options) = @_;
    my $self = bless {
        dir    => File::Temp->newdir('steadytext-test-XXXXXX', TMPDIR => 1),
        daemon => $options{daemon} // 'echo',
        conf   => $options{conf} // [],
        bin    => $options{bin},
    }, $class;
    push @running, $self;
    $self->devcluster('start', "--daemon=$self->{daemon}", map { "--conf=$_" } @{ $self->{conf} });
    open my $env, '<', "$self->{dir}/env" or croak "no env: $!";
    my $line = <$env>;
    $self->{$1} = $2 while $line =~ /(PG\w+)=(\S+)/g;
    $self->{run} = readlink "$self->{dir}/run";
    return $self;
}

# Clusters still up when the test ends are stopped before Perl takes its objects apart.
sub discard {
    my ($self) = @_;
    @running = grep { $_ != $self } @running;
    kill 'KILL', values %{ $self->{daemons} // {} };
    return $self->stop('immediate') if $self->{is_standby};
    $self->devcluster('stop');
    return;
}
END { local $?; $_->discard for my @all = reverse @running }

sub devcluster {
    my ($self, $command, @arguments) = @_;
    my $output;
    local $ENV{PG_CONFIG} = "$self->{bin}/pg_config" if $self->{bin};
    IPC::Run::run(["$ROOT/scripts/devcluster", $command, "--dir=$self->{dir}", @arguments], '<', \undef, '>&', \$output)
        or croak "devcluster $command failed: " . ($output // '');
    return $output;
}

# The directory of data, sockets and logs; a command to be run as the server's user.
sub run_dir { return $_[0]{run} }
sub data_dir { return "$_[0]{run}/data" }
sub as_server { return $> == 0 ? ('runuser', '-u', 'postgres', '--') : () }

# A program of the server that is tested: PG_CONFIG's, else the newest here. What Debian puts into the PATH is a script that costs four times as
# much as psql itself.
sub server_program {
    my ($name) = @_;
    state $bin = do {
        my ($config) = $ENV{PG_CONFIG} // reverse sort glob '/usr/lib/postgresql/*/bin/pg_config';
        chomp(my $said = `$config --bindir`);
        $said;
    };
    return "$bin/$name";
}

# The same of this cluster's server, which may be another: new(bin => its directory of programs).
sub program { my ($self, $name) = @_; return $self->{bin} ? "$self->{bin}/$name" : server_program($name) }

sub pg_ctl {
    my ($self, @arguments) = @_;
    my @within = ref $arguments[0] ? @{ shift @arguments } : ();
    my $output;
    my $good = IPC::Run::run([@within, as_server(), $self->program('pg_ctl'), '-D', $self->data_dir, '-l', "$self->{run}/log", '-w', '-s', @arguments],
        '<', \undef, '>&', \$output);
    return $good;
}

sub stop    { my ($self, $mode) = @_; return $self->pg_ctl('-m', $mode // 'fast', 'stop') }
sub start   { my ($self, %options) = @_; return $self->pg_ctl($options{within} // [], 'start') }  # within: a command before it
sub restart { return $_[0]->pg_ctl('-m', 'fast', 'restart') }
sub reload  { return $_[0]->pg_ctl('reload') }

# Makes and starts a standby that streams from this server: a cluster with the same ways to ask it, stopped when the test ends.
sub standby {
    my ($self, %options) = @_;
    my $number = ++$self->{standbys};
    my $run    = "$self->{run}/standby$number";
    my $standby = bless { %$self, run => $run, PGPORT => $self->{PGPORT} + $number, is_standby => 1, daemons => {} }, ref $self;
    my $output = '';
    for my $command ([ 'mkdir', $run ], [ $self->program('pg_basebackup'), '-D', "$run/data", '-R', '-c', 'fast',
            '-h', $self->{PGHOST}, '-p', $self->{PGPORT}, '-U', $self->{PGUSER} ]) {
        IPC::Run::run([ as_server(), @$command ], '<', \undef, '>&', \$output) or croak "no standby: $output";
    }
    $standby->append_conf("port = $standby->{PGPORT}", "listen_addresses = ''", @{ $options{conf} // [] });
    $standby->start or croak 'no standby: ' . $standby->log;
    push @running, $standby;
    return $standby;
}

# On a standby: waits until all that its primary has done is visible here.
sub catch_up {
    my ($self, $primary, $seconds) = @_;
    my $end = $primary->sql('SELECT pg_current_wal_insert_lsn()');
    return $self->poll_until("SELECT pg_last_wal_replay_lsn() >= '$end'", 't', $seconds);
}
sub promote { return $_[0]->pg_ctl('promote') }

# Appends to postgresql.conf; reload or restart makes it count.
sub append_conf {
    my ($self, @lines) = @_;
    open my $file, '>>', $self->data_dir . '/postgresql.conf' or croak "postgresql.conf: $!";
    print {$file} map { "$_\n" } @lines;
    close $file;
    return;
}

sub psql_command {
    my ($self, %options) = @_;
    return (
        $self->program('psql'), '-qXAt', '-v', 'VERBOSITY=verbose', '-v', 'ON_ERROR_STOP=1',
        '-h', $self->{PGHOST}, '-p', $self->{PGPORT}, '-U', $options{user} // $self->{PGUSER},
        '-d', $options{database} // $self->{PGDATABASE});
}

# Runs a script; returns { out, err, state (SQLSTATE of the first error, or ''), seconds }.
sub try_sql {
    my ($self, $sql, %options) = @_;
    my ($out, $err) = ('', '');
    my $start = time;
    IPC::Run::run([ $self->psql_command(%options) ], '<', \$sql, '>', \$out, '2>', \$err,
        IPC::Run::timeout($options{timeout} // 120));
    chomp $out;
    my ($state) = $err =~ /^(?:ERROR|FATAL):\s+([0-9A-Z]{5}):/m;
    return { out => $out, err => $err, state => $state // '', seconds => time - $start };
}

# The same for scripts that must succeed: what they print.
sub sql {
    my ($self, $sql, %options) = @_;
    my $result = $self->try_sql($sql, %options);
    croak "$sql\n$result->{err}" if $result->{state} ne '' || $result->{err} =~ /^psql: error/m;
    return $result->{out};
}

# Waits until the query gives the expected text; false after `seconds`.
sub poll_until {
    my ($self, $query, $expected, $seconds) = @_;
    $expected //= 't';
    my $deadline = time + ($seconds // 30);
    while (time < $deadline) {
        my $result = $self->try_sql($query);
        return 1 if $result->{out} eq $expected;
        $self->{last_poll} = $result;
        sleep 0.02;
    }
    return 0;
}

# Waits until the code is true; false after `seconds`.
sub wait_for {
    my ($self, $code, $seconds) = @_;
    my $deadline = time + ($seconds // 30);
    while (time < $deadline) {
        return 1 if $code->();
        sleep 0.01;
    }
    return 0;
}

sub log {
    my ($self) = @_;
    open my $file, '<', "$self->{run}/log" or return '';
    local $/;
    return scalar <$file>;
}

sub worker_pid {
    my ($self, $type) = @_;
    return $self->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_steadytext $type'");
}

# Of a process, in kilobytes: RssAnon is its own memory, VmRSS that with what it has touched of shared memory and files.
sub memory {
    my ($self, $pid, $kind) = @_;
    open my $status, '<', "/proc/$pid/status" or return 0;
    my ($kilobytes) = map { /^$kind:\s+(\d+) kB/ ? $1 : () } <$status>;
    return $kilobytes // 0;
}
sub gateway_memory { my ($self, $kind) = @_; return $self->memory($self->worker_pid('gateway'), $kind) }

# A session of its own, running in the background.
sub session {
    my ($self, %options) = @_;
    return SteadyText::Session->new([ $self->psql_command(%options) ]);
}

# ---- the test daemon -----------------------------------------------------------------------------------------------

sub echo_endpoint { return "ipc://$_[0]{run}/echo.sock" }

# Starts another echo daemon (or the first one again) with options, after the command `within`; returns a handle with pid and endpoint.
sub start_echo {
    my ($self, %options) = @_;
    my $name     = $options{name} // 'echo';
    my $endpoint = $options{endpoint} // "ipc://$self->{run}/$name.sock";
    my $program  = "$self->{run}/echo-daemon";
    system('install', '-m', '755', "$ROOT/build/echo-daemon", $program) == 0 or croak 'no echo daemon' unless -x $program;
    my $log = "$self->{run}/$name.log";
    my $pid = fork // croak "fork: $!";
    if ($pid == 0) {
        open STDIN,  '<', '/dev/null';
        open STDOUT, '>', $log;
        open STDERR, '>&', \*STDOUT;
        # Not the pipes of sessions: one would not see the end of its input while this daemon lives.
        POSIX::close($_) for 3 .. 1023;
        exec @{ $options{within} // [] }, as_server_exec(), $program, '--endpoint', $endpoint, @{ $options{options} // [] } or exit 127;
    }
    $self->{daemons}{$name} = $pid;
    $self->wait_for(sub { my $text = `cat $log 2>/dev/null`; $text =~ /listening/ }, 10) or croak "echo daemon $name does not listen";
    return { name => $name, pid => $pid, endpoint => $endpoint };
}

# exec needs a process that is the daemon itself, so that a signal reaches it.
sub as_server_exec { return $> == 0 ? ('setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups') : () }

# The echo daemon that devcluster started.
sub echo_pid {
    my ($self) = @_;
    chomp(my $pid = `pgrep -f "^$self->{run}/echo-daemon --endpoint ipc://$self->{run}/echo.sock"`);
    return $pid;
}

# Sends one request to a daemon from outside the server and returns the reply's text.
sub ask_daemon {
    my ($self, $method, $params, $endpoint) = @_;
    my $script = sprintf qq({"method": "%s", "params": %s, "id": "test"}\n<\n), $method, $params // '{}';
    my $reply;
    IPC::Run::run(["$ROOT/build/wire-client", $endpoint // $self->echo_endpoint], '<', \$script, '>', \$reply);
    return $reply;
}

package SteadyText::Session;

use strict;
use warnings;
use IPC::Run ();

sub new {
    my ($class, $command) = @_;
    my $self = bless { in => '', out => '', err => '' }, $class;
    $self->{run} = IPC::Run::start($command, '<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err});
    return $self;
}

# Sends a script without waiting for it.
sub send {
    my ($self, $sql) = @_;
    # A script sent this way ends with its statement, or psql would wait for more.
    $self->{in} .= "$sql;\n";
    $self->{run}->pump while length $self->{in};
    return $self;
}

# Moves bytes until the code is true, and sleeps where there are none: what is tested has the processor. (pump() itself would sleep past a deadline.)
sub pump_gently {
    my ($self, $is_done) = @_;
    my $pause = 0.0005;
    my $moved = sub { return length($self->{out}) + length($self->{err}) - length $self->{in} };
    until ($is_done->()) {
        my $before = $moved->();
        $self->{run}->pump_nb;
        next if $moved->() != $before;
        Time::HiRes::sleep($pause);
        $pause *= 1.5 if $pause < 0.01;
    }
    return;
}

# Hands over a script and waits for nothing, not even for room in a pipe: who looks at the server next sees it at work.
sub hand_over {
    my ($self, $sql) = @_;
    $self->{in} .= "$sql\n";
    $self->pump_gently(sub { !length $self->{in} });
    return $self;
}

# Sends a script and waits until it has been answered.
sub ask {
    my ($self, $sql, $seconds) = @_;
    my $mark = 'done-' . ++$self->{marks};
    $self->{out} = '';
    $self->{in} .= "$sql\n\\echo $mark\n";
    my $timer = IPC::Run::timer($seconds // 60);
    $timer->start;
    $self->pump_gently(sub { $self->{out} =~ s/^\Q$mark\E\n//m || $timer->is_expired || !$self->{run}->pumpable });
    chomp(my $out = $self->{out});
    return $out;
}

# Ends the input and waits; returns { out, err, state }.
sub finish {
    my ($self) = @_;
    $self->{run}->finish;
    chomp(my $out = $self->{out});
    my ($state) = $self->{err} =~ /^(?:ERROR|FATAL):\s+([0-9A-Z]{5}):/m;
    return { out => $out, err => $self->{err}, state => $state // '' };
}

1;
