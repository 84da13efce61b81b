# Prometheus, Alertmanager and postgres_exporter for one test, on loopback, with the configurations of monitoring/.
#
#   my $monitoring = SteadyText::Monitoring->new;
#   my $url = $monitoring->start_prometheus("127.0.0.1:$port");
#   $monitoring->query('up');  $monitoring->alerts;  $monitoring->received;
#
# They are the distribution's own programs; everything is stopped, by process id, when the test ends.
package SteadyText::Monitoring;

use strict;
use warnings;
use Carp qw(croak);
use File::Temp ();
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use SteadyText::Cluster;

my @pids;
END { local $?; kill 'KILL', @pids if @pids; waitpid $_, 0 for @pids }

sub new { return bless { dir => File::Temp->newdir('steadytext-monitoring-XXXXXX', TMPDIR => 1) }, shift }

sub free_port { return IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')->sockport }

sub available { return !grep { my $program = $_; !grep { -x "$_/$program" } split /:/, $ENV{PATH} } qw(prometheus promtool prometheus-alertmanager prometheus-postgres-exporter) }

sub get { my ($url) = @_; return HTTP::Tiny->new(timeout => 10)->get($url) }
sub json { my ($url) = @_; my $answer = get($url); return $answer->{success} ? JSON::PP::decode_json($answer->{content}) : undef }

# Runs in the background, its words in a log.
sub start_program {
    my ($self, $name, @command) = @_;
    my $pid = fork // croak "fork: $!";
    if ($pid == 0) {
        open STDIN,  '<', '/dev/null';
        open STDOUT, '>', "$self->{dir}/$name.log";
        open STDERR, '>&', \*STDOUT;
        exec @command or exit 127;
    }
    push @pids, $pid;
    return;
}

sub log { my ($self, $name) = @_; open my $file, '<', "$self->{dir}/$name.log" or return ''; local $/; return <$file> }

# A file of monitoring/ with the addresses of this test in it.
sub place {
    my ($self, $path, %replace) = @_;
    open my $from, '<', "$SteadyText::Cluster::ROOT/monitoring/$path" or croak "$path: $!";
    local $/;
    my $text = <$from>;
    $text =~ s/\Q$_\E/$replace{$_}/g for keys %replace;
    my ($name) = $path =~ m{([^/]+)$};
    open my $to, '>', "$self->{dir}/$name" or croak "$name: $!";
    print {$to} $text;
    close $to;
    return "$self->{dir}/$name";
}

# One that takes what Alertmanager sends, and writes it down.
sub start_receiver {
    my ($self) = @_;
    my $server = IO::Socket::INET->new(Listen => 8, LocalAddr => '127.0.0.1', ReuseAddr => 1) or croak "receiver: $!";
    $self->{receiver} = '127.0.0.1:' . $server->sockport;
    my $pid = fork // croak "fork: $!";
    if ($pid == 0) {
        while (my $peer = $server->accept) {
            my ($path, $length, $body) = ('', 0);
            while (my $line = <$peer>) {
                $path   = $1 if $line =~ m{^POST (\S+)};
                $length = $1 if $line =~ /^Content-Length: (\d+)/i;
                last if $line eq "\r\n";
            }
            read $peer, $body, $length;
            open my $file, '>>', "$self->{dir}/received";
            print {$file} "$path $body\n";
            close $file;
            print {$peer} "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            close $peer;
        }
        POSIX::_exit(0);
    }
    push @pids, $pid;
    return;
}

# Alerts the receiver got: "path alertname status".
sub received {
    my ($self) = @_;
    open my $file, '<', "$self->{dir}/received" or return ();
    my @all;
    while (my $line = <$file>) {
        my ($path, $body) = $line =~ /^(\S+) (.*)$/ or next;
        push @all, map { "$path $_->{labels}{alertname} $_->{status}" } @{ JSON::PP::decode_json($body)->{alerts} };
    }
    return @all;
}

sub start_alertmanager {
    my ($self) = @_;
    $self->start_receiver;
    my $port = free_port();
    $self->{alertmanager} = "127.0.0.1:$port";
    my $conf = $self->place('alertmanager/alertmanager.yml', '127.0.0.1:9099' => $self->{receiver});
    $self->start_program('alertmanager', 'prometheus-alertmanager', "--config.file=$conf", "--storage.path=$self->{dir}/alertmanager",
        "--web.listen-address=$self->{alertmanager}", '--cluster.listen-address=');
    return;
}

sub start_exporter {
    my ($self, $cluster) = @_;
    my $port = free_port();
    $self->{exporter} = "127.0.0.1:$port";
    local $ENV{DATA_SOURCE_NAME} = "host=$cluster->{PGHOST} port=$cluster->{PGPORT} user=watcher dbname=$cluster->{PGDATABASE} sslmode=disable";
    $self->start_program('exporter', 'prometheus-postgres-exporter', "--web.listen-address=$self->{exporter}", '--disable-default-metrics',
        '--disable-settings-metrics', "--extend.query-path=$SteadyText::Cluster::ROOT/monitoring/postgres_exporter/queries.yml");
    return;
}

# Scrapes the listener, and the exporter if it runs, every second.
sub start_prometheus {
    my ($self, $listener) = @_;
    $self->{prometheus} = '127.0.0.1:' . free_port();
    $self->place('prometheus/steadytext.rules.yml');
    my $conf = $self->place('prometheus/prometheus.yml', '127.0.0.1:9188' => $listener, '127.0.0.1:9093' => $self->{alertmanager} // '127.0.0.1:9093',
        '_interval: 5s' => '_interval: 1s', '127.0.0.1:9187' => $self->{exporter} // '', $self->{exporter} ? ('  # -' => '  -', '  #   ' => '    ') : ());
    $self->start_program('prometheus', 'prometheus', "--config.file=$conf", "--storage.tsdb.path=$self->{dir}/tsdb",
        "--web.listen-address=$self->{prometheus}", '--log.level=warn');
    return;
}

# The values a query gives now.
sub query {
    my ($self, $query) = @_;
    $query =~ s/([^A-Za-z0-9_.-])/sprintf '%%%02X', ord $1/ge;
    my $answer = json("http://$self->{prometheus}/api/v1/query?query=$query") or return ();
    return map { $_->{value}[1] } @{ $answer->{data}{result} };
}

# Alerts that fire in Prometheus, and those that Alertmanager has.
sub firing { my ($self) = @_; my $answer = json("http://$self->{prometheus}/api/v1/alerts") or return (); return map { $_->{labels}{alertname} } grep { $_->{state} eq 'firing' } @{ $answer->{data}{alerts} } }
sub alerts { my ($self) = @_; my $answer = json("http://$self->{alertmanager}/api/v2/alerts") or return (); return map { $_->{labels}{alertname} } @$answer }

1;
