# Engines that people run, for tests: llama.cpp's own server, and LiteLLM's proxy in front of it.
#
#   my $writer = SteadyText::RealEngine->llama_server($cluster, 'smollm2-135m-instruct-q4_1.gguf', '--alias', 'smollm2');
#   my $proxy  = SteadyText::RealEngine->litellm($cluster, smollm2 => $writer, minilm => $embedder);
#   $proxy->{url}; $proxy->is_up; $writer->is_idle; $writer->kill;
#
# Neither is built for the tests that CI runs: missing() tells why such a test is skipped. `make check-engines` builds both and runs those tests.
# All listen on loopback only, with a key; what starts here is stopped, by its process id, when the test ends.
package SteadyText::RealEngine;

use strict;
use warnings;
use Carp qw(croak);
use HTTP::Tiny ();
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use SteadyText::Cluster;

our $KEY = 'sk-of-the-real-engines';

my $root = $SteadyText::Cluster::ROOT;
my @pids;
END { local $?; kill 'KILL', @pids if @pids; waitpid $_, 0 for @pids }

sub found { my ($command) = @_; chomp(my $place = `$command`); return $place }
sub llama_home   { return found("$root/scripts/build-llama --server --find") }
sub litellm_home { return found("$root/scripts/install-litellm --find") }

# Why a test that needs these ('llama-server', 'litellm') cannot run; '' if it can.
sub missing {
    my ($class, @engines) = @_;
    my %home = ('llama-server' => \&llama_home, litellm => \&litellm_home);
    return "real engines are asked for by 'make check-engines' only" unless $ENV{STEADYTEXT_REAL_ENGINES};
    return join '; ', map { $home{$_}->() eq '' ? "$_ is not there: 'make $_' builds it" : () } @engines;
}

# Runs in the background, its words in a log; with nothing of this environment but what it needs.
sub start {
    my ($class, $cluster, $name, $environment, @command) = @_;
    my $port = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')->sockport;
    my $log  = $cluster->run_dir . "/$name-$port.log";
    my $pid  = fork // croak "fork: $!";
    if ($pid == 0) {
        open STDIN,  '<', '/dev/null';
        open STDOUT, '>', $log;
        open STDERR, '>&', \*STDOUT;
        %ENV = (PATH => '/usr/bin:/bin', HOME => $cluster->run_dir, LANG => 'C.UTF-8', %$environment);
        exec(map { s/PORT/$port/r } @command) or POSIX::_exit(127);
    }
    push @pids, $pid;
    return bless { pid => $pid, url => "http://127.0.0.1:$port", log => $log }, $class;
}

# A server of its own for each model, as llama-server has one.
sub llama_server {
    my ($class, $cluster, $model, @options) = @_;
    chomp(my $models = `$root/scripts/models --print-dir`);
    my $self = $class->start($cluster, 'llama-server', {}, llama_home() . '/bin/llama-server', '--host', '127.0.0.1', '--port', 'PORT', '--model', "$models/$model",
        '--threads', 2, '--offline', '--api-key', $KEY, @options);
    $self->{health} = '/health';
    return $self;
}

# Names of models, each with the engine that has it.
sub litellm {
    my ($class, $cluster, %engines) = @_;
    my $config = $cluster->run_dir . '/litellm.json';  # which is YAML too
    open my $file, '>', $config or croak "$config: $!";
    print {$file} JSON::PP->new->canonical->encode({
        model_list => [ map { { model_name => $_, litellm_params => { model => "openai/$_", api_base => "$engines{$_}{url}/v1", api_key => $KEY } } } sort keys %engines ],
        general_settings => { master_key => $KEY },
        litellm_settings => { telemetry => JSON::PP::false, num_retries => 0 },
        router_settings  => { num_retries => 0, disable_cooldowns => JSON::PP::true } });
    close $file;
    my $self = $class->start($cluster, 'litellm', { LITELLM_LOCAL_MODEL_COST_MAP => 'True', LITELLM_MODE => 'PRODUCTION' },
        litellm_home() . '/bin/litellm', '--config', $config, '--host', '127.0.0.1', '--port', 'PORT');
    $self->{health} = '/health/liveliness';
    return $self;
}

sub ask {
    my ($self, $path) = @_;
    return HTTP::Tiny->new(timeout => 10, default_headers => { Authorization => "Bearer $KEY" })->get("$self->{url}$path");
}
sub is_up { my ($self) = @_; return $self->ask($self->{health})->{status} eq '200' }
sub port  { my ($self) = @_; return ($self->{url} =~ /:(\d+)$/)[0] }
sub kill  { my ($self) = @_; return CORE::kill('KILL', $self->{pid}) }
sub words { my ($self) = @_; open my $log, '<', $self->{log} or return ''; local $/; return scalar <$log> }

# Of llama-server with --slots: how many answers it writes.
sub at_work { my ($self) = @_; return scalar grep { $_->{is_processing} } @{ JSON::PP::decode_json($self->ask('/slots')->{content}) } }

1;
